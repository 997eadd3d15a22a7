"""Measure the training throughput.

Run it as: python train/studies/throughput.py --data DIR

It prints megapixels/s, eager and compiled, in float32 and bf16, as medians over the rounds. The
four take turns, so that other load on the machine affects them equally.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

from vaecodec_train.config import load_config
from vaecodec_train.training.dataset import open_dataset
from vaecodec_train.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--config", type=Path, default=Path("train/configs/default.toml"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    config = dataclasses.replace(load_config(args.config), klt_start=False)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset(
            [args.data], args.cache or Path(scratch), config.patch, config.held_out
        )
        trainers = {}
        for precision in ("float32", "bf16"):
            for compiled in (False, True):
                settings = dataclasses.replace(config, precision=precision, compile=compiled)
                trainers[f"{precision}, {'compiled' if compiled else 'eager'}"] = Trainer(
                    settings, dataset, Path(scratch)
                )
        inputs = next(iter(trainers.values())).inputs(0)
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for trainer in trainers.values():
            trainer.update(*inputs)  # compiles
        for _ in range(args.rounds):
            for name, trainer in trainers.items():
                start = time.perf_counter()
                for _ in range(2):
                    trainer.update(*inputs)
                seconds[name].append((time.perf_counter() - start) / 2)
    base = statistics.median(seconds["float32, eager"])
    for name, values in seconds.items():
        median = statistics.median(values)
        megapixels = config.batch * config.patch**2 / 1e6
        print(f"| {name} | {megapixels / median:.2f} | {base / median:.2f} |")


if __name__ == "__main__":
    main()
