"""The ESC networks: mathematics only. No files, no devices, no words of the command line."""
