"""The targets of the fuzzer: functions that take any bytes and raise only if there is a bug.

`python tests/fuzz/targets.py RUNS [SEED]` decodes RUNS mutated files in a plain loop.
"""

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import vaecodec
from fuzz import mutate, networks, tiny
from vaecodec.errors import VaecodecError
from vaecodec.format.container import seal
from vaecodec.format.reader import Reader

Target = Callable[[bytes], None]


def targets(files: list[bytes]) -> dict[str, Target]:
    """Return the targets by name. Mutated files are made from `files` of the tiny model."""
    originals = [(data, vaecodec.decode_array(data, model=tiny.MODEL)) for data in files]

    def parser(data: bytes) -> None:
        whole, _ = originals[len(data) % len(originals)]
        for candidate in (data, whole[:26] + data, whole[:26] + seal(data[:1] or b"T", data[1:])):
            with suppress(VaecodecError):
                reader = Reader(candidate)
                reader.check_counts()
                reader.check_all()
                reader.metadata()
            with suppress(VaecodecError):
                Reader(candidate, tolerant=True).metadata()

    def decode(data: bytes) -> None:
        rng = random.Random(data)
        whole, picture = originals[rng.randrange(len(originals))]
        tolerant = rng.random() < 0.3
        changed = mutate.mutated(whole, rng)
        if tolerant:
            changed = mutate.forge_header(changed, rng) if len(changed) > 26 else changed
        try:
            decoded = vaecodec.decode_array(
                changed, model=tiny.MODEL, threads=1, tolerant=tolerant, max_pixels=10**6
            )
        except VaecodecError:
            return
        if not tolerant and np.abs(decoded.astype(int) - picture.astype(int)).max() > (
            257 if decoded.dtype == np.uint16 else 1
        ):
            raise AssertionError("a wrong picture was passed as good")

    return {"parser": parser, "decode": decode}


def main(runs: int, seed: int = 0) -> None:
    networks.use_new_arrays()
    decode = targets(tiny.files())["decode"]
    for run in range(seed, seed + runs):
        try:
            decode(run.to_bytes(8, "little"))
        except Exception:
            print(f"failed with seed {run}", file=sys.stderr)
            raise
    print(f"{runs} mutated files from seed {seed}: refused, or decoded to the right picture")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
