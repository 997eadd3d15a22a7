"""Benchmarks that compare vaecodec with other codecs. Every number is measured on a real file."""
