"""Turn a checkpoint into a model folder: integer networks, tables and ONNX graphs."""
