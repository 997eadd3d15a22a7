"""`python -m vaecodec` is the `vaecodec` command."""

from vaecodec.cli import main

main()
