"""The threads that work on several tiles at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vaecodec.model import registry
from vaecodec.model.networks import Networks

T = TypeVar("T")
R = TypeVar("R")
MOST = 3  # tiles at once: each takes up to 130 MB


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew:
    """Networks and the threads to run them in. several: whether there is more than one tile to work on."""

    def __init__(
        self, model: str | None, threads: int, several: bool, installed_only: bool = False
    ):
        count = threads or available_cores()
        self.size = min(count, MOST) if several else 1
        self.nets: Networks = registry.load_model(
            model, count // self.size if several else threads, installed_only
        )

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """work(item) of each, in order, so many at a time; results wait only for those before them."""
        if self.size == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(self.size) as pool:
            running: deque[Future[R]] = deque()
            for item in items:
                if len(running) == self.size:
                    yield running.popleft().result()
                running.append(pool.submit(work, item))
            while running:
                yield running.popleft().result()
