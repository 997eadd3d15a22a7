"""Networks, and the threads that work on several tiles at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vaecodec.engine.workers import available_cores
from vaecodec.model.networks import Networks
from vaecodec.model.registry import load_model
from vaecodec.spec import check_threads

T = TypeVar("T")
R = TypeVar("R")
MAX_TILES_AT_ONCE = 3  # each takes up to 130 MB


class TilePool:
    """The networks of a model and the threads to run them in.

    Args:
        model: Id or folder of a model. None is the default model.
        threads: Threads in all. 0 is one per core.
        concurrent: Work on several tiles at once, rather than on one with all threads.
        installed_only: Accept no model folder. For ids that come from a file.

    Raises:
        ModelError: The model is missing or damaged.
        ParameterError: `threads` is out of range.
    """

    def __init__(
        self, model: str | None, threads: int, concurrent: bool, installed_only: bool = False
    ):
        check_threads(threads)
        count = threads or available_cores()
        self.size = min(count, MAX_TILES_AT_ONCE) if concurrent else 1
        threads_per_tile = count // self.size if concurrent else threads
        self.nets: Networks = load_model(model, threads_per_tile, installed_only)

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Like the built-in `map`, with up to `size` calls running at once.

        Results keep the order of `items`. `items` is consumed in the calling thread, so a
        generator may read from a file.
        """
        if self.size == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(self.size) as executor:
            running: deque[Future[R]] = deque()
            for item in items:
                if len(running) == self.size:
                    yield running.popleft().result()
                running.append(executor.submit(work, item))
            while running:
                yield running.popleft().result()
