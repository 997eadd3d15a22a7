"""The .vae file format. Bytes only: no NumPy and no model."""
