"""ONNX graphs of the networks, for export and for ONNX Runtime."""
