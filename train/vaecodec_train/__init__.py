"""Train the networks of vaecodec and export them. Needs the `train` extra (torch, compressai)."""
