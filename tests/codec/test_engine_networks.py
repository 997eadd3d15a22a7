"""Whole networks give the same result on every kernel, with any threads, bands and shares, in any crop."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from random_networks import random_context, random_patches, random_stream, random_synthesis
from vaecodec.engine import Engine, Layer, Network, available, native, save_network, workers
from vaecodec.engine.network import stages

NETWORKS: dict[str, Callable[[], Network]] = {
    **{f"stream of {c}": lambda c=c: random_stream(c, c, 3) for c in (1, 7, 16, 33, 40)},
    "stream with one buffer": lambda: random_stream(8, 9, 3, mix_buffers=1),
    "patches": lambda: random_patches(9, 3),
    "synthesis": lambda: random_synthesis(1, 5, 19),
    "first context": lambda: random_context(2, 0, 17, 12),
    "context": lambda: random_context(3, 1, 21, 20),
}
CELLS = ((1, 1), (1, 9), (13, 1), (5, 7), (9, 20), (31, 3))
THREADED = [(name, threads) for name in available()[:-1] for threads in (1, 2, 3)]


def random_input(network: Network, cells: tuple[int, int], seed: int = 0) -> np.ndarray:
    buffer = network.buffers["input"]
    rng = np.random.default_rng(seed)
    shape = (cells[0] * buffer.scale, cells[1] * buffer.scale, buffer.channels)
    x = rng.normal(0, 4000, shape)
    extreme = rng.random(shape) < 0.02
    x[extreme] = rng.choice([-32768, 32767], extreme.sum())
    return x.clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def pairs(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs, and what NumPy makes of them."""
    engine = Engine(network, name="numpy")
    inputs = [random_input(network, cells) for cells in CELLS]
    return [(x, engine.run(x, 30.25)) for x in inputs]


def test_results_are_alive(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for _, y in pairs:
        assert len(np.unique(y)) > 0.3 * min(y.size, 300)
        assert np.mean(np.abs(y) == 16383) < 0.5


@pytest.mark.parametrize(("name", "threads"), THREADED)
def test_kernels_agree(
    network: Network, pairs: list[tuple[np.ndarray, np.ndarray]], name: str, threads: int
) -> None:
    engine = Engine(network, threads, name)
    for x, y in pairs:
        assert np.array_equal(engine.run(x, 30.25), y), x.shape


@pytest.mark.parametrize("pixels", [1, 20, 192, 10**6])
@pytest.mark.parametrize("shares", [1, 4])
@pytest.mark.parametrize("threads", [1, 3])
def test_bands_and_shares(
    network: Network,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    pixels: int,
    shares: int,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "BAND_PIXELS", pixels)
    monkeypatch.setattr(native, "SHARES_PER_THREAD", shares)
    for name in available()[:-1]:
        engine = Engine(network, threads, name)
        for x, y in pairs:
            assert np.array_equal(engine.run(x, 30.25), y), (name, x.shape)


@pytest.mark.parametrize("name", available())
def test_quality_matters_to_gains_alone(name: str) -> None:
    stream, context = random_stream(5, 6, 1), random_context(5, 1, 6, 4)
    for network, differs in ((stream, True), (context, False)):
        engine, x = Engine(network, name=name), random_input(network, (3, 4))
        assert np.array_equal(engine.run(x, 1), engine.run(x, 100)) != differs


@pytest.mark.parametrize("name", available())
def test_one_engine_in_several_threads(name: str) -> None:
    """Different inputs and sizes at once, each several times, so that memory kept from a run shows."""
    network = random_stream(11, 12, 2)
    engine = Engine(network, 2, name)
    inputs = [random_input(network, cells, seed) for seed, cells in enumerate(CELLS)]
    expected = [Engine(network, name="numpy").run(x) for x in inputs]
    wrong: list[object] = []
    start = threading.Barrier(4)

    def work(first: int) -> None:
        start.wait()
        for i in range(first, first + 30):
            x, y = inputs[i % len(inputs)], expected[i % len(inputs)]
            if not np.array_equal(engine.run(x), y):
                wrong.append(x.shape)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", available()[:-1])
def test_results_are_not_overwritten(name: str) -> None:
    network = random_stream(3, 8, 1)
    engine = Engine(network, 2, name)
    first = engine.run(random_input(network, (6, 5), 1))
    kept = first.copy()
    engine.run(random_input(network, (6, 5), 2))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", available())
def test_input_is_not_changed(name: str) -> None:
    network = random_stream(3, 8, 1)
    x = random_input(network, (6, 5))
    kept = x.copy()
    Engine(network, name=name).run(x)
    assert np.array_equal(x, kept)


FORK = """
import os, sys, threading
import numpy as np
from vaecodec.engine import Engine, load_network
engine, x = Engine(load_network(sys.argv[1]), 2), np.load(sys.argv[2])
expected = engine.run(x)
child = os.fork()
assert np.array_equal(engine.run(x), expected)
assert engine.name == "numpy" or threading.active_count() > 1
if child:
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
"""


ENDING = """
import sys, threading
import numpy as np
from vaecodec.engine import Engine, load_network
engine, x = Engine(load_network(sys.argv[1]), 2), np.load(sys.argv[2])
def work():
    threading.main_thread().join()
    print(np.array_equal(engine.run(x), Engine(engine.network, 1).run(x)))
threading.Thread(target=work).start()
"""


@pytest.mark.parametrize(
    ("code", "output"),
    [
        pytest.param(
            FORK,
            "",
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
        ),
        (ENDING, "True\n"),
    ],
    ids=["in a forked child", "after the main thread"],
)
def test_threads_at_odd_times(code: str, output: str, tmp_path: Path) -> None:
    """A forked child runs, in threads of its own, and exits. So does a thread while Python ends, when none can be started."""
    network = random_stream(4, 10, 2)
    save_network(network, tmp_path / "network.npz")
    np.save(tmp_path / "x.npy", random_input(network, (24, 8)))
    files = [str(tmp_path / name) for name in ("network.npz", "x.npy")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output, done.stderr


@pytest.mark.skipif(not native.kernels(), reason="needs the engine in C")
def test_an_interrupted_run_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that help the interrupted run may go on, but not in the arrays of the next one."""
    network = random_stream(5, 64, 3)
    x, other = (random_input(network, (48, 40), seed) for seed in (1, 2))
    engine = Engine(network, 2)
    expected = Engine(network, 1, "numpy").run(x)
    hand_over = workers._Helpers.hand_over

    def interrupted(helpers: workers._Helpers, work: Callable[[], None]) -> bool:
        hand_over(helpers, work)
        raise KeyboardInterrupt

    for _ in range(20):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(workers._Helpers, "hand_over", interrupted)
            engine.run(other)
        assert np.array_equal(engine.run(x), expected)


def test_threads_do_not_accumulate() -> None:
    network = random_stream(5, 8, 1)
    engine = Engine(network, 8)
    x = random_input(network, (16, 3))
    before = threading.active_count()
    for _ in range(300):
        engine.run(x)
    assert threading.active_count() <= before + workers.available_cores()


@pytest.mark.parametrize("name", available())
def test_crop_with_a_margin_gives_the_same_inside(name: str) -> None:
    """Each of the blocks reads one row further out, so as many rows of margin as blocks are enough."""
    network = random_stream(6, 9, 3)
    engine = Engine(network, 2, name)
    x = random_input(network, (17, 21))
    whole = engine.run(x)
    for margin, enough in ((3, True), (2, False)):
        cropped = engine.run(x[4:15, 5:17])[margin:-margin, margin:-margin]
        inside = whole[4 + margin : 15 - margin, 5 + margin : 17 - margin]
        assert np.array_equal(cropped, inside) == enough
    # Where the crop ends with the whole, no margin is needed.
    assert np.array_equal(engine.run(x[:9])[:-3], whole[:6])


def test_stages_of_blocks() -> None:
    """A block's depthwise layer begins a stage, which goes on to the next block's first layer."""
    names = [[layer.name for layer in stage] for stage in stages(random_stream(1, 4, 3))]
    middle = [
        [f"block.{i}.{part}" for part in ("spatial", "mix_out", "expand", "project")]
        for i in range(3)
    ]
    assert names == [
        ["first", "block.0.mix_in"],
        [*middle[0], "block.1.mix_in"],
        [*middle[1], "block.2.mix_in"],
        [*middle[2], "gain", "last"],
    ]


def depthwise(source: str, target: str) -> Layer:
    return Layer("depthwise", source, target, 1, 1, f"{source} to {target}")


def linear(source: str, target: str) -> Layer:
    return Layer("linear", source, target, 1, 1, f"{source} to {target}")


@pytest.mark.parametrize(
    ("layers", "counts"),
    [
        ([linear("input", "a"), linear("a", "b"), linear("b", "a")], [3]),
        # A depthwise layer reads what an earlier stage has written, or the input.
        ([depthwise("input", "a"), linear("a", "b")], [2]),
        ([linear("input", "a"), depthwise("a", "b")], [1, 1]),
        ([depthwise("input", "a"), depthwise("a", "b")], [1, 1]),
        ([linear("input", "a"), depthwise("a", "b"), depthwise("a", "c")], [1, 2]),
        # Its source stays as it is until the stage ends.
        ([linear("input", "a"), depthwise("a", "b"), linear("b", "a")], [1, 1, 1]),
        (
            [linear("input", "a"), depthwise("a", "b"), linear("b", "c"), linear("c", "a")],
            [1, 2, 1],
        ),
        ([linear("input", "a"), depthwise("a", "b"), linear("b", "c")], [1, 2]),
    ],
)
def test_stages_end_where_a_depthwise_layer_needs_it(
    layers: list[Layer], counts: list[int]
) -> None:
    found = stages(Network({}, tuple(layers), {}))
    assert [len(stage) for stage in found] == counts
    assert [layer for stage in found for layer in stage] == layers
