"""Configurations, and the learning rate that they describe."""

from pathlib import Path

import pytest

from vaecodec.errors import VaecodecError
from vaecodec_train.config import TrainConfig, load_config


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("steps = 'many'", "steps must be"),
        ("speed = 9", "unknown setting 'speed'"),
        ("[model]\nq = 3", "unknown setting 'q'"),
        ("steps = [", "not a TOML"),
        ("optimizer = 'sgd'", "muon, adam, rmsprop"),
        ("lr_other = 0.0", "above 0"),
        ("[model]\nblock = 'dense'", "gated, plain"),
        ("[model]\nm = 30", "multiple of 4"),
        ("patch = 100", "multiple of 64"),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(VaecodecError, match=reason):
        load_config(tmp_path / "c.toml")


def test_learning_rate() -> None:
    config = TrainConfig(steps=1000, warmup=100, decay=0.4)
    factors = [config.learning_rate_factor(i) for i in (0, 49, 99, 300, 600, 800, 1000)]
    assert factors == pytest.approx([0.01, 0.5, 1, 1, 1, 0.5, 0], abs=1e-3)


def test_a_run_in_minutes_decays_by_the_clock() -> None:
    config = TrainConfig(minutes=10, warmup=1, decay=0.5)
    factors = [config.learning_rate_factor(9, 60.0 * minute) for minute in (0, 5, 7.5, 10, 11)]
    assert factors == [1, 1, 0.5, 0, 0]
