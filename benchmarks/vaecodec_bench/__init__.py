"""vaecodec against other codecs, measured from real files."""
