"""The `vaecodec` command."""
