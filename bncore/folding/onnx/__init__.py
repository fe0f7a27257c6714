"""Folding of ONNX graphs."""
