"""The runtimes that run networks, torch, OpenVINO and ONNX Runtime, and their optimizations."""
