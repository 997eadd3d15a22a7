"""Run the `vaecodec-train` command by `python -m vaecodec_train`."""

from vaecodec_train.cli import main

main()
