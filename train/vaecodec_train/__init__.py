"""Learns the codec's weights and exports them for `vaecodec`. Needs the `train` extra (torch, compressai)."""
