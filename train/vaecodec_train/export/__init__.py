"""Export: turn a checkpoint into a model folder with integer networks, probability tables and ONNX graphs."""
