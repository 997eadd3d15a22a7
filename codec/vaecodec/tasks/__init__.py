"""What the model does besides coding: sample, interpolate, score, embed and restore."""
