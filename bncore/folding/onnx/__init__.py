"""Folding in ONNX files: the engine that rewrites a model, and around it reading, checking, comparing and writing.

Nothing here imports onnx or ONNX Runtime before it is used.
"""
