"""Textbook autoencoders of handwritten digits, the ideas behind a learned codec (docs/FROM_VAE_TO_CODEC.md)."""
