"""Compare the WebAssembly kernels with NumPy on random networks: check.py ENGINE.wasm RUNS [SEED].

Node.js runs the module. `vaecodec.engine.native` calls it here instead of the extension.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from fuzz import networks
from vaecodec.engine import native

KERNELS = ["wasm", "portable"]


class WasmEngine:
    """Has the functions of `vaecodec.engine._engine`."""

    def __init__(self, module: str):
        script = str(Path(__file__).with_name("run.mjs"))
        pipe = subprocess.PIPE
        self.node = subprocess.Popen(["node", script, module], stdin=pipe, stdout=pipe)

    def kernels(self) -> list[str]:
        return KERNELS

    def run(self, kernel: str, *arguments: Any) -> None:
        *arrays, buffers, rows, columns, share = arguments
        name = np.frombuffer(kernel.encode() + b"\0", np.uint8)
        blocks = [a.tobytes() for a in (name, *arrays, *buffers)]
        head = {
            "sizes": [len(block) for block in blocks],
            "stages": len(arrays[0]),
            "numbers": [rows, columns, share],
        }
        text = json.dumps(head).encode()
        self.node.stdin.write(b"".join([len(text).to_bytes(4, "little"), text, *blocks]))
        self.node.stdin.flush()
        if self.node.stdout.read(1) != b"\0":
            raise ValueError(f"the module has no kernel {kernel}")
        for buffer in buffers:
            buffer.view(np.uint8)[:] = np.frombuffer(self.node.stdout.read(buffer.nbytes), np.uint8)


def main(module: str, runs: str, seed: str = "0") -> None:
    native._engine = WasmEngine(module)
    # One call at a time: the others find that nothing is left to do.
    native.run_in_threads = lambda work, count: work()
    networks.main(int(runs), int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
