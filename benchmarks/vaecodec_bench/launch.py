"""Run one command and print its seconds and its peak memory in bytes: python launch.py COMMAND...

This is a small process without imports from the package, because the peak memory that the system
reports for a child process starts at that of its parent, and the benchmark itself is large.
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
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes elsewhere
    result = {
        "seconds": seconds,
        "peak": usage.ru_maxrss * unit,
        "code": os.waitstatus_to_exitcode(status),
        "error": error[-300:],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
