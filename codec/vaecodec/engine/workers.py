"""Threads that are started once and shared by all engines of the process."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from vaecodec.spec import MAX_THREADS

_pool: ThreadPoolExecutor | None = None


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_threads(work: Callable[[], None], count: int) -> None:
    """Call `work` in this thread and in up to `count` - 1 others.

    `work` must be a loop that takes whatever is left to do, and returns when all of it is done. So
    this function returns as soon as this thread's call does. The other calls may not have started
    by then, or not have returned yet.
    """
    global _pool
    others = []
    if count > 1:
        if _pool is None:
            # The pool starts a thread only when none is idle.
            _pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="vaecodec-engine")
        with suppress(RuntimeError):  # no thread can be started, such as while Python is ending
            for _ in range(count - 1):
                others.append(_pool.submit(work))
    try:
        work()
    except BaseException:  # such as KeyboardInterrupt: the caller's arrays must not be in use
        wait(others)
        raise
    for other in others:
        other.cancel()


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_forget_pool)
