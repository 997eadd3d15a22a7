"""Textbook autoencoders of digits, for docs/TUTORIAL.md."""
