"""Run the study of docs/TRAINING.md.

    python train/studies/study.py --data DIR -o OUT [--minutes 3] [ROW...]

Each row changes one thing and trains for the same CPU minutes: processor time divided by threads,
so that other load on the machine matters little. Results are written to OUT/study.json row by row.
Rows that are already there are not trained again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from vaecodec_bench.bd_rate import bd_rate
from vaecodec_train.config import TrainConfig, from_dict
from vaecodec_train.training.dataset import Dataset, held_out_crops, open_dataset
from vaecodec_train.training.log import estimated_curve
from vaecodec_train.training.trainer import Trainer

BASE: dict[str, Any] = {
    "warmup": 20,
    "ema": 0.99,
    "compile": False,
    "checkpoint_minutes": 1e9,
    "model": {"m": 320, "bypass": True, "lambda_min": 0.0006, "lambda_max": 1.0},
}
ROWS: dict[str, dict[str, Any]] = {
    "base: Muon 0.01, KLT start, 8 x 256 x 256, linear decay": {},
    "Adam 0.001 for everything": {"optimizer": "adam", "lr_matrix": 0.001},
    "Muon 0.003": {"lr_matrix": 0.003},
    "Muon 0.02": {"lr_matrix": 0.02},
    "random start": {"klt_start": False},
    "plain blocks, 4 instead of 3": {
        "model": {"block": "plain", "g_a_blocks": [4, 4], "g_s_blocks": [4, 4]}
    },
    "narrow: n 96, k 192": {"model": {"n": 96, "k": 192}},
    "wide: n 160, k 320": {"model": {"n": 160, "k": 320}},
    "blocks moved to 1/16: 2 and 4": {"model": {"g_a_blocks": [2, 4], "g_s_blocks": [2, 4]}},
    "random downscale": {"downscale": True},
    "patch 128, batch 32": {"patch": 128, "batch": 32},
    "no averaged weights": {"ema": 0.0},
    "cosine decay": {"decay_shape": "cosine"},
    "lambda 0.0009 to 0.12 instead of 0.0006 to 1": {
        "model": {"lambda_min": 0.0009, "lambda_max": 0.12}
    },
    "context model of two blocks a step": {"model": {"context_blocks": 2}},
}


def settings(changes: dict[str, Any], minutes: float) -> TrainConfig:
    model = {**BASE["model"], **changes.get("model", {})}
    return from_dict({**BASE, **changes, "minutes": minutes, "model": model})


def train(config: TrainConfig, dataset: Dataset, folder: Path) -> Trainer:
    trainer = Trainer(config, dataset, folder)
    trainer.clock = lambda: time.process_time() / torch.get_num_threads()  # type: ignore[assignment]
    begin = trainer.clock()
    while not trainer.finished():
        trainer.update(*trainer.inputs(trainer.iteration))
        trainer.seconds = trainer.clock() - begin
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "rows", nargs="*", help="beginnings of the names of rows to train (default: all)"
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset([args.data], args.cache or args.output / "cache", 256, 24)
    crops = held_out_crops(dataset)
    file = args.output / "study.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name, changes in ROWS.items():
        if name in results or (args.rows and not name.startswith(tuple(args.rows))):
            continue
        trainer = train(settings(changes, args.minutes), dataset, args.output)
        results[name] = {
            "steps": trainer.iteration,
            "minutes": args.minutes,
            "curve": estimated_curve(trainer.averaged(), crops),
        }
        file.write_text(json.dumps(results, indent=1) + "\n")
        print(row(name, results), flush=True)
    print("\n".join(row(name, results) for name in ROWS if name in results))


def row(name: str, results: dict[str, Any]) -> str:
    """Return a line: iterations, BD-rate against the first row, PSNR at the highest quality."""
    base = next(iter(ROWS))
    curve = [tuple(p) for p in results[name]["curve"]]
    rate = (
        bd_rate([tuple(p) for p in results[base]["curve"]], curve)
        if base in results and name != base
        else 0.0
    )
    return f"| {name} | {results[name]['steps']} | {rate:+.1f} % | {curve[-1][1]:.2f} dB |"


if __name__ == "__main__":
    main()
