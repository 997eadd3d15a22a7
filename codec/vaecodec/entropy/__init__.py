"""Entropy coding: symbols to bytes and back, with integer probability tables."""
