"""The runtimes that run networks, torch and OpenVINO, and their optimizations."""
