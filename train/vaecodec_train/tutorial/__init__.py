"""Textbook autoencoders of digits, for docs/FROM_VAE_TO_CODEC.md."""
