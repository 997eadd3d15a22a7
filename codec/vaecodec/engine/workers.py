"""Threads that are started once and shared by all engines of the process."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Helpers:
    """Threads that help with the work of others, at most one for each core.

    A thread that is busy or has not woken up yet is not waited for, and no work queues up for it.
    """

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()
        self.busy = 0  # calls that have been handed over and have not returned

    def hand_over(self, work: Callable[[], None]) -> bool:
        """Call `work` in another thread. Returns whether there is one."""
        limit = available_cores()
        with self.lock:
            if self.busy >= limit:
                return False
            self.busy += 1
            if self.pool is None:
                self.pool = ThreadPoolExecutor(limit, thread_name_prefix="vaecodec-engine")
            try:
                self.pool.submit(self._call, work)
            except RuntimeError:  # no thread can be started, such as while Python is ending
                self.pool = None
                self.busy -= 1
                return False
        return True

    def _call(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self.lock:
                self.busy -= 1


_helpers = _Helpers()


def run_in_threads(work: Callable[[], None], count: int) -> None:
    """Call `work` in this thread and in up to `count` - 1 others.

    `work` must be a loop that takes whatever is left to do, and returns when all of it is done. So
    this function returns as soon as this thread's call does. The other calls may not have started
    by then, or not have returned yet.
    """
    for _ in range(count - 1):
        if not _helpers.hand_over(work):
            break
    work()


def _forget_helpers() -> None:
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_forget_helpers)
