"""The networks of one model, and the tables beside them.

h_s and the context model are integer networks, which the engine runs with the same result on every
machine (docs/EXACTNESS.md). g_a, h_a and g_s are float networks, which ONNX Runtime runs. They
only decide what is sent and how it looks.
"""

import hashlib
import json
import threading
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime

from vaecodec._arrays import F32, I16, I32, U8
from vaecodec.engine import Buffer, Engine, Network, load_network
from vaecodec.engine.network import INPUT, OUTPUT, round_shift, saturate
from vaecodec.engine.quality import neighbours, table_row
from vaecodec.engine.workers import available_cores
from vaecodec.entropy.tables import Tables
from vaecodec.errors import ModelError
from vaecodec.spec import (
    POSITIONS,
    QUALITY_SPAN,
    STEPS,
    Y_FRACTION,
    Z_FRACTION,
    group_at,
    quality_position,
)

GRAPHS = ("g_a", "g_s", "h_a")  # float, ONNX
NETWORKS = ("h_s", "context_0", "context_1", "context_2", "context_3")  # integer
MAX_Y_SHIFT = 16  # so that y fits int32


class Networks:
    """The networks and tables of one model folder.

    y lies on a grid at 1/16 of the picture's resolution, padded to whole cells of z. z lies on
    a grid at 1/64.

    Args:
        folder: The model folder.
        threads: Threads that run one network. 0 is one per core.

    Raises:
        ModelError: The folder does not hold a model, or the model is damaged.
    """

    def __init__(self, folder: Path, threads: int = 0):
        self.folder = folder
        self.threads = threads
        try:
            self._load_tables()
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            IndexError,
            zipfile.BadZipFile,
        ) as error:
            raise ModelError(f"{folder}: not a model folder ({error})") from None
        self._z_tables: dict[int, Tables] = {}
        self._sessions: dict[str, Any] = {}
        self._engines: dict[str, Engine] = {}
        self._loading = threading.RLock()

    def _load_tables(self) -> None:
        self.manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        self.id = str(self.manifest["id"])
        if content_id(self.folder) != self.id:
            raise ModelError(
                f"{self.folder}: damaged, its contents are not those of model {self.id}"
            )
        with np.load(self.folder / "tables.npz", allow_pickle=False) as file:
            self.tables = {name: file[name] for name in file.files}
        self.y_tables = Tables(self.tables["y_half_width"], self.tables["y_frequency"])
        self.m = self.tables["bias_scale"].shape[1]
        self.channels_z = len(self.tables["z_median"])
        self.y_shift = self.tables["y_shift"]
        if self.y_shift.shape != (self.m,) or self.y_shift.max() > MAX_Y_SHIFT:
            raise ValueError("y_shift has the wrong shape or is too large")
        scale_index = self.tables["scale_index"]
        if scale_index.shape != (4096,) or scale_index.max() >= len(self.tables["y_half_width"]):
            raise ValueError("scale_index has the wrong shape or names a missing table")
        if self.m % STEPS or self.channels_z > 256:
            raise ValueError("the number of channels is not supported")

    def z_tables(self, quality: float) -> Tables:
        """Return the tables of z at a quality, one per channel.

        The scale of quality is divided into equal bands, each with its own tables.
        """
        half_width = self.tables["z_half_width"]  # (bands, channels)
        band = (round(quality * 100) - 100) * len(half_width) // (QUALITY_SPAN + 1)
        if band not in self._z_tables:
            ends = np.cumsum((2 * half_width.astype(np.int64) + 1).sum(1))
            frequency = np.split(self.tables["z_frequency"], ends[:-1])[band]
            self._z_tables[band] = Tables(half_width[band], frequency)
        return self._z_tables[band]

    def engine(self, network: str) -> Engine:
        """Return the engine of an integer network, one of `NETWORKS`."""
        with self._loading:  # several tiles may be the first ones
            engine = self._engines.get(network)
            if engine is None:
                path = self.folder / f"{network}.npz"
                loaded = load_network(path)
                if not self._fits(network, loaded):
                    raise ModelError(f"{path}: does not fit the other files of the model")
                engine = Engine(loaded, self.threads or available_cores())
                self._engines[network] = engine
        return engine

    def _fits(self, name: str, network: Network) -> bool:
        """Return whether an integer network has the channels and scales that its use expects."""
        given = network.buffers[INPUT]
        result = network.buffers[OUTPUT]
        if name == "h_s":
            return given == Buffer(self.channels_z, 1) and result.scale == 4
        p = self.engine("h_s").network.buffers[OUTPUT].channels
        seen = p if name == "context_0" else p + self.m
        return given == Buffer(seen, 2) and result == Buffer(2 * self.m, 1)

    def _session(self, graph: str) -> Any:
        session = self._sessions.get(graph)
        if session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = 3
            # Idle graphs leave the cores alone.
            options.add_session_config_entry("session.force_spinning_stop", "1")
            path = self.folder / f"{graph}.onnx"
            try:
                session = onnxruntime.InferenceSession(
                    path, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                reason = str(error).splitlines()[0]
                raise ModelError(f"{path}: cannot be loaded ({reason})") from None
            self._sessions[graph] = session
        return session

    def _run(self, graph: str, feeds: dict[str, Any]) -> list[Any]:
        session = self._session(graph)
        try:
            return cast(list[Any], session.run(None, feeds))
        except Exception as error:  # as above
            if "alloc" in str(error).lower() or "BFCArena" in str(error):
                raise MemoryError from None
            path = self.folder / f"{graph}.onnx"
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path}: cannot be run ({reason})") from None

    def row(self, name: str, quality: float) -> F32:
        """Return a float quality table's row at a quality, shape (1, C, 1, 1)."""
        lower, upper, rest = neighbours(self.tables[name], quality)
        row = lower * ((QUALITY_SPAN - rest) / QUALITY_SPAN) + upper * (rest / QUALITY_SPAN)
        return row.astype(np.float32).reshape(1, -1, 1, 1)

    def gain_s(self, quality: float) -> F32:
        """Return the factors (1, m, 1, 1) that turn y in 1/64 into the input of g_s."""
        gain: F32 = np.exp(-self.row("log_gain_y", quality)) / np.float32(Y_FRACTION)
        return gain

    def analyse(self, samples: F32 | U8, quality: float) -> F32:
        """Run g_a.

        Args:
            samples: Shape (H, W, 3), 0 to 255. H and W are multiples of 16.
            quality: 1 to 100.

        Returns:
            y, shape (m, H/16, W/16), in units of the quantization step.
        """
        feeds = {
            "image": samples.astype(np.float32, copy=False),
            "gain": np.exp(self.row("log_gain_a", quality)),
            "gain_y": np.exp(self.row("log_gain_y", quality)),
        }
        (y,) = self._run("g_a", feeds)
        return cast(F32, y[0])

    def hyper_analyse(self, y: F32) -> I32:
        """Run h_a on y (m, h, w), h and w multiples of 4.

        Returns:
            The symbols of z, shape (channels, h/4, w/4).
        """
        (z,) = self._run("h_a", {"y": y[None]})
        return cast(I32, np.rint(z[0] - self._median_z()).astype(np.int32))

    def _median_z(self) -> F32:
        """Return the medians of z, shape (channels, 1, 1)."""
        return cast(F32, self.tables["z_median"].reshape(-1, 1, 1) / np.float32(Z_FRACTION))

    def hyper_synthesis(self, z: I32, quality: float) -> I16:
        """Run h_s on the symbols of z, shape (channels, h, w).

        Returns:
            The state of the context model, shape (4h, 4w, P + m): p, then y as far as it is
            known, in the units of `y_input`. It is 0 here, since nothing of y is known yet.
        """
        fixed_point = z * Z_FRACTION + self.tables["z_median"].reshape(-1, 1, 1)
        p = self.engine("h_s").run(saturate(fixed_point.transpose(1, 2, 0)), quality)
        height, width, channels = p.shape
        state = np.zeros((height, width, channels + self.m), np.int16)
        state[..., :channels] = p
        return state

    def context(self, step: int, state: I16, quality: float) -> tuple[I32, U8]:
        """Run the context model of step 0, 1, 2 or 3.

        Args:
            step: The context step.
            state: As `hyper_synthesis` returns it, with the latents of earlier steps filled in.
            quality: 1 to 100.

        Returns:
            Means in 1/64 and table indices, both of shape (2h, 2w, 4, m/4): row and column of
            the 2x2 square, position in it, channel of the group that is coded there.
        """
        engine = self.engine(f"context_{step}")
        out = engine.run(state[..., : engine.inputs], quality)
        parts = out.reshape(*out.shape[:2], POSITIONS, 2, self.m // STEPS)
        mean = np.left_shift(parts[..., 0, :], self._groups(step, self.y_shift), dtype=np.int32)
        bias = self._groups(step, table_row(self.tables["bias_scale"], quality))
        log_scale = np.add(parts[..., 1, :], bias + 2048, dtype=np.intp)
        return mean, cast(U8, self.tables["scale_index"].take(log_scale, mode="clip"))

    def y_input(self, step: int, y: I32) -> I16:
        """Return latents of a step as the context model reads them.

        Args:
            step: The context step.
            y: In 1/64, in the shape of the means of `context`.
        """
        return saturate(round_shift(y, self._groups(step, self.y_shift)))

    def _groups(self, step: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values (m,) of channels as (4, m/4): those of the group at each position."""
        groups = [group_at(step, position) for position in range(POSITIONS)]
        return values.reshape(STEPS, -1)[groups]

    def synthesise(self, y: F32, quality: float) -> F32:
        """Run g_s on y (m, h, w) in 1/64.

        Returns:
            Samples, shape (16h, 16w, 3), about 0 to 255.
        """
        feeds = {
            "y": y[None],
            "gain": np.exp(self.row("log_gain_s", quality)),
            "gain_y": self.gain_s(quality),
        }
        (samples,) = self._run("g_s", feeds)
        return cast(F32, samples)

    def gradient(
        self, y: F32, z: I32, noise: F32, tau: float, quality: float, constants: dict[str, F32]
    ) -> F32:
        """Return the gradient of rate and distortion with respect to y, shape (m, h, w).

        Args:
            y: Shape (m, h, w), in units of the quantization step.
            z: The symbols of z.
            noise: Gumbel noise of the shape of y.
            tau: Temperature of the relaxed rounding.
            quality: 1 to 100.
            constants: The inputs `cells` and `masks` of refine.onnx.
        """
        rows = len(self.tables["log_gain_y"])
        index, rest = quality_position(quality, rows)
        knot_weights = np.zeros((1, rows), np.float32)
        knot_weights[0, index] = 1 - rest / QUALITY_SPAN
        knot_weights[0, min(index + 1, rows - 1)] += rest / QUALITY_SPAN
        low, high = self.manifest["lambda"]
        weight = low * (high / low) ** ((quality - 1) / 99) * 255**2
        feeds = {
            "y": y[None],
            "noise": noise[None],
            "z": (z + self._median_z()).astype(np.float32)[None],
            "anchors": knot_weights,
            "tau": np.array([tau], np.float32),
            "weight": np.array([weight], np.float32),
        }
        gradient, _, _ = self._run("refine", feeds | constants)
        return cast(F32, gradient[0])

    def has_weights_for(self, task: str) -> bool:
        """Return whether the model has weights for a restoration task or for `refine`."""
        return (self.folder / f"{task}.onnx").is_file()

    def restore(self, task: str, y: F32, samples: F32) -> F32:
        """Run the synthesis of a restoration task.

        Args:
            task: denoise, inpaint or superres.
            y: Latents of the damaged picture at quality 100, shape (m, H/16, W/16).
            samples: The damaged picture, shape (H, W, 3 or 4), 0 to 255.

        Returns:
            The restored samples, shape (H, W, 3).
        """
        path = self.folder / f"{task}.onnx"
        made_for = self._session(task).get_modelmeta().custom_metadata_map.get("model")
        if made_for != self.id:
            raise ModelError(f"{path}: made for model {made_for}, not for {self.id}")
        (restored,) = self._run(task, {"y": y[None], "image": samples})
        return cast(F32, restored)

    def preview(self, y: F32, quality: float, scale: int) -> F32:
        """Return a small picture by a linear approximation of g_s.

        Args:
            y: Shape (m, h, w), in 1/64.
            quality: 1 to 100.
            scale: 2, 4 or 8.

        Returns:
            Samples, shape (16h/scale, 16w/scale, 3), about 0 to 255.
        """
        side = 16 // scale  # samples of a cell
        # (8, 8, 3, m + 1): the samples of a cell at half size; the last column is the bias.
        matrix = self.tables["preview"].astype(np.float32)
        blocks = matrix.reshape(side, 8 // side, side, 8 // side, 3, -1)
        small = blocks.mean((1, 3)).reshape(side * side * 3, -1)
        m, h, w = y.shape
        samples = small[:, :m] @ (y * self.gain_s(quality)[0]).reshape(m, -1) + small[:, m:]
        cells = samples.reshape(side, side, 3, h, w)
        return cast(F32, cells.transpose(3, 0, 4, 1, 2).reshape(h * side, w * side, 3))


def content_id(folder: Path) -> str:
    """Return the id of a model folder: 8 hexadecimal digits of the SHA-256 of its contents.

    The hash runs over the names and the SHA-256 hashes of its files, in order of name.
    """
    digest = hashlib.sha256()
    names = [f"{graph}.onnx" for graph in GRAPHS] + [f"{network}.npz" for network in NETWORKS]
    for name in sorted([*names, "tables.npz"]):
        contents = (folder / name).read_bytes()
        digest.update(name.encode() + hashlib.sha256(contents).digest())
    return digest.hexdigest()[:8]
