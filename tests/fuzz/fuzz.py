"""Coverage-guided fuzzing with atheris: python tests/fuzz/fuzz.py parser|decode -runs=N (make fuzz).

`parser` reads headers, chunks and metadata from any bytes. `decode` decodes mutated files of a
tiny model: a picture that passes as good must be the right one. Anything but a VaecodecError ends
the run with a traceback and a file that reproduces it.
"""

import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["vaecodec"]):
    import vaecodec
    from vaecodec.format.container import seal
    from vaecodec.format.reader import Reader
from vaecodec.errors import VaecodecError


def main() -> None:
    import numpy as np

    from fuzz import mutate, tiny

    target, *options = sys.argv[1:]
    originals = [(data, vaecodec.decode_array(data, model=tiny.MODEL)) for data in tiny.files()]

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

    corpus = Path(tempfile.mkdtemp(prefix="vaecodec-corpus-"))
    for i, (data, _) in enumerate(originals):
        (corpus / str(i)).write_bytes(data)
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)], {"parser": parser, "decode": decode}[target]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
