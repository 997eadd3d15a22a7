"""Checkpoints to model folders: integer networks, probability tables and ONNX graphs."""
