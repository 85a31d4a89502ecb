"""The ESC networks. This package only computes: it knows no files, no devices and no command line."""
