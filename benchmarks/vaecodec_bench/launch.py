"""Runs one command and prints its seconds and its peak memory in bytes: python launch.py COMMAND...

A small process of its own, because a child's peak memory starts at its parent's, and the benchmark itself is large.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    start = time.perf_counter()
    child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr
    error = child.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    peak = usage.ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )  # bytes on macOS, kibibytes elsewhere
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak": peak,
                "code": os.waitstatus_to_exitcode(status),
                "error": error[-300:],
            }
        )
    )


if __name__ == "__main__":
    main()
