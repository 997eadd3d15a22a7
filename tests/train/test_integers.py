"""The integer networks follow the float ones, keep their margins, and say why a layer cannot be held in integers."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import kodak_crop
from small_training import UNEVEN_MODEL
from vaecodec.engine import Buffer, Engine, Layer, Network, reference
from vaecodec.engine.network import (
    LIMIT,
    OUTPUT,
    SUM_LIMIT,
    half,
    round_shift,
    saturate,
    stages,
)
from vaecodec.engine.quality import table_row
from vaecodec.errors import VaecodecError
from vaecodec.spec import POSITIONS, STEPS, Y_FRACTION, Z_FRACTION, step_parts
from vaecodec_train.export.engine_network import MARGIN, Builder, engine_order, to_integers
from vaecodec_train.export.entropy import LOG_SCALE_UNIT, EntropyModel, entropy_model
from vaecodec_train.export.model_folder import batches
from vaecodec_train.export.ranges import watched
from vaecodec_train.model.autoencoder import LOG_SCALE_MIN, Autoencoder
from vaecodec_train.model.blocks import Conv1x1, Down, PlainBlock, Up

QUALITIES = (1, 34, 100)


def wake(network: nn.Module) -> None:
    """Give residual branches, which start near zero, weights as large as those of other layers."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, PlainBlock):
                for conv in (module.mix_out, module.project):
                    conv.weight.mul_(60)
                    conv.bias.normal_(0, 0.1)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    """A random model whose every part matters, with means of different sizes."""
    torch.manual_seed(3)
    model = Autoencoder(UNEVEN_MODEL).eval()
    wake(model)
    with torch.no_grad():
        for table in (model.bias_h, model.bias_scale):
            table.normal_(0, 0.3)
        model.log_gain_y[:, ::2] += 4  # so that some channels of y are shifted
        model.prior_z.quantiles[:, 0, 1].uniform_(-2, 2)  # the medians
    return model


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    return [np.asarray(kodak_crop(n, 128, 128)) for n in range(1, 9)]


@pytest.fixture(scope="module")
def entropy(model: Autoencoder, crops: list[np.ndarray]) -> EntropyModel:
    return entropy_model(model, batches(crops))


class Float:
    """What the float networks make of a picture: everything that the integer ones read, and what they should give."""

    @torch.no_grad()
    def __init__(self, model: Autoencoder, picture: np.ndarray, quality: float):
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        q = torch.tensor([(quality - 1) / 99], dtype=torch.float32)
        y, _ = model.latent(x, q)
        z_hat, _ = model.hyper_latent(y, None)
        self.z = np.rint((z_hat - model.prior_z._get_medians().reshape(1, -1, 1, 1))[0].numpy())
        p = model.h_s(z_hat * 0.25) + model.at_quality(model.bias_h, q)
        mean, log_scale = model.prior_head(p).chunk(2, 1)
        y_hat = torch.zeros_like(y)
        self.p = cells(p)
        self.steps = []  # y_hat before the step, means and log-scales, all (h, w, m)
        for step, mask in enumerate(model.step_masks(*y.shape[2:])):
            if step:
                seen = torch.cat([p, model.context_in[step - 1](y_hat * 0.25)], 1)
                mean, log_scale = model.context[step - 1](seen).chunk(2, 1)
            total = log_scale + model.at_quality(model.bias_scale, q)
            self.steps.append((cells(y_hat), cells(4 * mean), cells(total)))
            y_hat = y_hat + (torch.round(y - 4 * mean) + 4 * mean) * mask


def cells(x: Tensor) -> np.ndarray:
    """(1, c, h, w) -> (h, w, c)."""
    return x[0].permute(1, 2, 0).numpy()


def z_input(entropy: EntropyModel, z: np.ndarray) -> np.ndarray:
    return saturate(Z_FRACTION * z.transpose(1, 2, 0).astype(int) + entropy.z_median)


def y_input(entropy: EntropyModel, y_hat: np.ndarray) -> np.ndarray:
    in_64ths = np.rint(y_hat * Y_FRACTION).astype(int)
    return saturate(round_shift(in_64ths, entropy.y_shift))


def test_p_follows_the_float_one(model: Autoencoder, entropy: EntropyModel) -> None:
    """Within a few of its steps, although the medians of z are rounded."""
    expected = Float(model, np.asarray(kodak_crop(12, 128, 192)), 50)
    p = Engine(entropy.networks["h_s"]).run(z_input(entropy, expected.z), 50).astype(float)
    steps = (p * expected.p).sum((0, 1)) / (p * p).sum((0, 1))  # least squares
    assert np.abs(p - expected.p / steps).max() < 8
    assert np.abs(p).max() > 1000


@pytest.mark.parametrize("quality", QUALITIES)
def test_integer_networks_follow_the_float_ones(
    model: Autoencoder, entropy: EntropyModel, quality: float
) -> None:
    m = UNEVEN_MODEL.m
    assert set(entropy.y_shift) > {0}
    expected = Float(model, np.asarray(kodak_crop(12, 128, 192)), quality)
    p = Engine(entropy.networks["h_s"]).run(z_input(entropy, expected.z), quality)
    bias = table_row(entropy.bias_scale, quality)
    for step, (y_hat, means, log_scales) in enumerate(expected.steps):
        inputs = np.concatenate([p, y_input(entropy, y_hat)], 2) if step else p
        out = Engine(entropy.networks[f"context_{step}"]).run(inputs, quality).astype(int)
        out = out.reshape(*out.shape[:2], POSITIONS, 2, m // STEPS)
        for position, part in enumerate(step_parts(step, m)):
            channels = part[2]
            mean, log_scale = out[:, :, position, 0], out[:, :, position, 1] + bias[channels]
            unit = 2.0 ** entropy.y_shift[channels] / Y_FRACTION
            error = mean - means[part] / unit
            assert np.abs(error).max() <= 2
            error = log_scale - (log_scales[part] - LOG_SCALE_MIN) / LOG_SCALE_UNIT
            assert np.abs(error).max() <= 2
            assert len(np.unique(mean)) > 20 and len(np.unique(log_scale)) > 20


def test_no_activation_of_a_calibration_crop_saturates(
    model: Autoencoder,
    entropy: EntropyModel,
    crops: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, int] = {}
    rounded_sum = reference.rounded_sum

    def recorded(network: Network, layer: Layer, x: np.ndarray, rows: reference.Rows) -> np.ndarray:
        total = rounded_sum(network, layer, x, rows)
        # Negative sums before a ReLU may saturate.
        largest = max(np.abs(x).max(), total.max() if layer.relu else np.abs(total).max())
        seen[layer.name] = max(seen.get(layer.name, 0), int(largest))
        return total

    monkeypatch.setattr(reference, "rounded_sum", recorded)
    for crop, quality in zip(crops, np.linspace(1, 100, len(crops)), strict=True):
        expected = Float(model, crop, quality)
        p = Engine(entropy.networks["h_s"], name="numpy").run(z_input(entropy, expected.z), quality)
        for step, (y_hat, _, _) in enumerate(expected.steps):
            inputs = np.concatenate([p, y_input(entropy, y_hat)], 2) if step else p
            Engine(entropy.networks[f"context_{step}"], name="numpy").run(inputs, quality)
    layers = [layer.name for n in entropy.networks.values() for layer in n.layers if layer.name]
    assert sorted(seen) == sorted(layers)
    assert max(seen.values()) < LIMIT
    inner = {name: value for name, value in seen.items() if "head" not in name}
    assert max(inner.values()) < LIMIT / MARGIN + 20


def test_all_modules_in_one_network() -> None:
    """Two blocks on one stream, both changes of resolution, a gain and parts of buffers."""
    torch.manual_seed(5)
    modules = nn.Sequential(
        Conv1x1(6, 10), PlainBlock(10), PlainBlock(10), Down(10, 7), PlainBlock(7), Up(7, 5)
    )
    wake(modules)
    x = torch.randn(1, 6, 8, 12)
    with watched(modules) as ranges:
        y = modules(x)
    steps = 4 * x.abs().amax((0, 2, 3)).double().numpy() / LIMIT
    gain = np.random.default_rng(0).uniform(0.2, 3, (2, 5))
    bias = np.random.default_rng(1).normal(0, 1, (2, 5))
    largest = cells(y.abs().amax((2, 3), keepdim=True))[0, 0].astype(float)
    builder = Builder("all", ranges, steps, 2)
    stream = builder.sequence(modules, "input", largest)
    builder.buffer(OUTPUT, 4 * (3 * largest + np.abs(bias).max()) / LIMIT, 2)
    builder.gain("gain", gain, bias, stream, OUTPUT)
    network = builder.finish()
    assert len(stages(network)) == 4  # one more than there are depthwise layers
    out = Engine(network).run(np.rint(cells(x) / steps).astype(np.int16), 100)
    expected = cells(y) * gain[1] + bias[1]
    assert np.abs(out * builder.steps[OUTPUT] - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("factor", [2, 8])
def test_order_of_unshuffled_channels(factor: int) -> None:
    x = torch.arange(3 * 16 * 24).reshape(1, 3, 16, 24)
    torchs = cells(F.pixel_unshuffle(x, factor))
    ours = reference.unshuffle(cells(x).astype(np.int64), factor)
    assert np.array_equal(torchs[:, :, engine_order(3, factor)], ours)


def test_shifts_are_the_largest_that_fit() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (200, 30)) * 2.0 ** rng.integers(-40, 9, (200, 1))
    bias = rng.normal(0, 1, (200, 1)) * 2.0 ** rng.integers(-20, 25, (200, 1))
    w, b, shift = to_integers("layer", weight, bias)
    assert len(set(shift.tolist())) > 10

    def fits(w: np.ndarray, b: np.ndarray, shift: np.ndarray) -> np.ndarray:
        total = np.abs(w).sum(1) * LIMIT + np.abs(b[:, 0]) + half(shift)
        return (total < SUM_LIMIT) & (np.abs(w).max(1) <= 32767)

    assert fits(w, b, shift).all()
    unit = 2.0 ** shift.astype(float)[:, None]
    assert np.abs(w - weight * unit).max() <= 0.5 and np.abs(b - bias * unit).max() <= 0.5
    finer = fits(np.rint(weight * unit * 2), np.rint(bias * unit * 2), shift + 1)
    assert not finer[shift < 30].any()


@pytest.mark.parametrize(
    ("weight", "bias", "reason"),
    [
        ([3.0, 40000.0], 0.0, "a weight would be 40000, the limit is 32767"),
        ([30000.0] * 5, 0.0, "a sum may reach 2457450000, the limit is 2147483648"),
        ([1.0], -3e9, "a sum may reach 3000016383, the limit is 2147483648"),
    ],
)
def test_layers_that_do_not_fit(weight: list[float], bias: float, reason: str) -> None:
    good = np.ones((1, len(weight)))
    with pytest.raises(VaecodecError) as error:
        to_integers("h_s.1.expand", np.vstack([good, weight]), np.array([[0.0], [bias]]))
    assert str(error.value) == f"layer h_s.1.expand, output channel 1: {reason}"


def test_export_names_the_layer_that_does_not_fit(
    model: Autoencoder, crops: list[np.ndarray]
) -> None:
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.prior_head.weight[3] *= 1e8
    with pytest.raises(
        VaecodecError, match=r"layer context\.0\.head\.0, output channel 3: a weight"
    ):
        entropy_model(broken, batches(crops))


def test_dead_channels_fit() -> None:
    """Outputs that were 0 in calibration get steps in which every weight fits."""
    torch.manual_seed(6)
    block = PlainBlock(6)
    with torch.no_grad():
        block.mix_in.bias[0], block.expand.bias[1] = -1e6, -1e6
        block.spatial.weight[2], block.spatial.bias[2] = 0, 0
    modules = nn.Sequential(Conv1x1(4, 6), block)
    x = torch.randn(1, 4, 8, 8)
    with watched(modules) as ranges:
        y = modules(x)
    assert ranges.reads["1.spatial"][0] == ranges.reads["1.mix_out"][2] == 0
    steps = np.full(4, 4 * float(x.abs().max()) / LIMIT)
    builder = Builder("all", ranges, steps, 1)
    stream = builder.sequence(modules, "input", ranges.writes["1"])
    builder.buffers = {"input": Buffer(4), **builder.buffers, OUTPUT: Buffer(6)}
    builder.steps[OUTPUT] = builder.steps[stream]
    builder.gain("gain", np.ones((1, 6)), np.zeros((1, 6)), stream, OUTPUT)
    out = Engine(builder.finish()).run(np.rint(cells(x) / steps).astype(np.int16))
    assert np.abs(out * builder.steps[OUTPUT] - cells(y)).max() < 2e-3 * float(y.abs().max())
