"""`python -m vaecodec_train` is the `vaecodec-train` command."""

from vaecodec_train.cli import main

main()
