"""`python -m vaecodec` is the `vaecodec` command."""

from vaecodec.cli.app import main

main()
