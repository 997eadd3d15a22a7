"""The .vae file format: bytes only, no NumPy and no model."""
