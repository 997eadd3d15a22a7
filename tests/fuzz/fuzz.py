"""Coverage-guided fuzzing with atheris: python tests/fuzz/fuzz.py parser|decode -runs=N (make fuzz).

`parser` reads headers, chunks and metadata from any bytes. `decode` decodes mutated files of a
tiny model: a picture that passes as good must be the right one. Anything but a VaecodecError ends
the run with a traceback and a file that reproduces it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["vaecodec"]):
    from fuzz import networks, targets, tiny


def main() -> None:
    target, *options = sys.argv[1:]
    networks.use_new_arrays()
    files = tiny.files()
    corpus = Path(tempfile.mkdtemp(prefix="vaecodec-corpus-"))
    for i, data in enumerate(files):
        (corpus / str(i)).write_bytes(data)
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.targets(files)[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
