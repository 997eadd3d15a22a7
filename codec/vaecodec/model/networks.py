"""The networks of one model: ONNX graphs run by ONNX Runtime, and the integer tables beside them.

g_a, h_a and g_s are float and only decide what is sent and how it looks. h_s and the context model are integer: their
values are whole numbers below 2^24 held in float32, so that every engine gives the same ones (docs/EXACTNESS.md).
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from vaecodec.entropy.coder import Tables
from vaecodec.errors import ModelError
from vaecodec.spec import Y_FRACTION, Z_FRACTION

GRAPHS = ("g_a", "g_s", "h_a", "h_s", "context_1", "context_2", "context_3")

Floats = npt.NDArray[np.float32]


class Networks:
    """One model folder. Latent grids: y at 1/16 (padded to whole z cells), z at 1/64 of the picture."""

    def __init__(self, folder: Path, threads: int = 0):
        self.folder, self.threads = folder, threads
        try:
            self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
            self.id = str(self.manifest["id"])
            if content_id(folder) != self.id:
                raise ModelError(
                    f"{folder}: damaged, its contents are not those of model {self.id}"
                )
            with np.load(folder / "tables.npz", allow_pickle=False) as f:
                self.tables = {name: f[name] for name in f.files}
            self.y_tables = Tables(self.tables["y_half_width"], self.tables["y_frequency"])
            self.m, self.channels_z = (
                self.tables["bias_scale"].shape[1],
                len(self.tables["z_median"]),
            )
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

    def z_tables(self, quality: float) -> Tables:
        """Tables of z, one a channel: each of the equal bands that divide the scale of quality has its own."""
        half_width = self.tables["z_half_width"]  # (bands, channels)
        band = (round(quality * 100) - 100) * len(half_width) // 9901
        if band not in self._z_tables:
            ends = np.cumsum((2 * half_width.astype(np.int64) + 1).sum(1))
            frequency = np.split(self.tables["z_frequency"], ends[:-1])[band]
            self._z_tables[band] = Tables(half_width[band], frequency)
        return self._z_tables[band]

    def _session(self, graph: str) -> Any:
        session = self._sessions.get(graph)
        if session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = 3
            options.add_session_config_entry(
                "session.force_spinning_stop", "1"
            )  # idle graphs leave the cores alone
            path = self.folder / f"{graph}.onnx"
            try:
                session = onnxruntime.InferenceSession(
                    path, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime's own exceptions share no base class
                raise ModelError(
                    f"{path}: cannot be loaded ({str(error).splitlines()[0]})"
                ) from None
            self._sessions[graph] = session
        return session

    def _run(self, graph: str, feeds: dict[str, Any]) -> list[Any]:
        session = self._session(graph)
        try:
            result: list[Any] = session.run(None, feeds)
        except Exception as error:  # as above
            if "alloc" in str(error).lower() or "BFCArena" in str(error):
                raise MemoryError from None
            raise ModelError(
                f"{self.folder / graph}.onnx: cannot be run ({str(error).splitlines()[0]})"
            ) from None
        return result

    def row(self, name: str, quality: float) -> npt.NDArray[Any]:
        """A quality table's row, (1, C, 1, 1): quality 1..100 runs over the anchors; integers interpolate exactly."""
        table = self.tables[name]
        span = 9900
        i, rest = divmod((round(quality * 100) - 100) * (len(table) - 1), span)
        row, upper = table[i], table[min(i + 1, len(table) - 1)]
        if table.dtype.kind == "f":
            mixed = (row * ((span - rest) / span) + upper * (rest / span)).astype(np.float32)
        else:
            # The integer quotient first: a float division of such sums could round a tie differently.
            total = row.astype(np.int64) * (span - rest) + upper.astype(np.int64) * rest
            mixed = ((total + span // 2) // span).astype(np.float32)
        shaped: npt.NDArray[Any] = mixed.reshape(1, -1, 1, 1)
        return shaped

    def analyse(self, image: Floats | npt.NDArray[np.uint8], quality: float) -> Floats:
        """image: (H, W, 3), samples of 0 to 255, sides multiples of 16. Returns y (m, H/16, W/16)."""
        (y,) = self._run(
            "g_a",
            {
                "image": image.astype(np.float32, copy=False),
                "gain": np.exp(self.row("log_gain_a", quality)),
                "gain_y": np.exp(self.row("log_gain_y", quality)),
            },
        )
        latent: Floats = y[0]
        return latent

    def hyper_analyse(self, y: Floats) -> npt.NDArray[np.int32]:
        """y: (m, h, w), h and w multiples of 4. Returns the symbols of z (channels, h/4, w/4)."""
        (z,) = self._run("h_a", {"y": y[None]})
        median = self.tables["z_median"].reshape(-1, 1, 1) / np.float32(Z_FRACTION)
        symbols: npt.NDArray[np.int32] = np.rint(z[0] - median).astype(np.int32)
        return symbols

    def hyper_synthesis(
        self, z: npt.NDArray[np.int32], quality: float
    ) -> tuple[Floats, Floats, npt.NDArray[np.uint8]]:
        """z: symbols (channels, h, w). Returns p (1, P, 4h, 4w) and, for step 0, means and table indices.

        Both are (4, m/4, 2h, 2w): position in the 2x2 cell, channel of the group coded there, row, column of the cell.
        """
        fixed = (z * Z_FRACTION + self.tables["z_median"].reshape(-1, 1, 1)).astype(np.float32)
        p, mean, log_scale = self._run(
            "h_s",
            {
                "z": fixed[None],
                "bias_h": self.row("bias_h", quality),
                "bias_scale": self.row("bias_scale", quality),
            },
        )
        return p, mean, self._index(log_scale)

    def context(
        self, step: int, p: Floats, y: Floats, quality: float
    ) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """Means and table indices of step 1, 2 or 3, given y (m, 4h, 4w) in 1/64, zero where not yet coded."""
        bias = self.row("bias_scale", quality)
        mean, log_scale = self._run(f"context_{step}", {"p": p, "y": y[None], "bias_scale": bias})
        return mean, self._index(log_scale)

    def _index(self, log_scale: Floats) -> npt.NDArray[np.uint8]:
        """Table index of each log-scale, an integer in -2048..2047."""
        index: npt.NDArray[np.uint8] = self.tables["scale_index"].take(
            log_scale.astype(np.int16) + np.int16(2048)
        )
        return index

    def synthesise(self, y: Floats, quality: float) -> Floats:
        """y: (m, h, w) in 1/64. Returns samples (16h, 16w, 3), about 0 to 255."""
        (image,) = self._run(
            "g_s",
            {
                "y": y[None],
                "gain": np.exp(self.row("log_gain_s", quality)),
                "gain_y": np.exp(-self.row("log_gain_y", quality)) / np.float32(Y_FRACTION),
            },
        )
        samples: Floats = image
        return samples

    def gradient(
        self,
        y: Floats,
        z: npt.NDArray[np.int32],
        noise: Floats,
        tau: float,
        quality: float,
        fixed: dict[str, Floats],
    ) -> Floats:
        """The gradient of bits and error with respect to y (m, h, w); `fixed` holds cells and masks of refine.onnx."""
        median = self.tables["z_median"].reshape(-1, 1, 1)
        i, rest = divmod((quality - 1) / 99 * (len(self.tables["log_gain_y"]) - 1), 1)
        anchors = np.zeros((1, len(self.tables["log_gain_y"])), np.float32)
        anchors[0, int(i)] = 1 - rest
        anchors[0, min(int(i) + 1, anchors.shape[1] - 1)] += rest
        low, high = self.manifest["lambda"]
        weight = low * (high / low) ** ((quality - 1) / 99) * 255**2
        feeds = {
            "y": y[None],
            "noise": noise[None],
            "z": (z + median / np.float32(Z_FRACTION)).astype(np.float32)[None],
            "anchors": anchors,
            "tau": np.array([tau], np.float32),
            "weight": np.array([weight], np.float32),
        }
        gradient, _, _ = self._run("refine", feeds | fixed)
        result: Floats = gradient[0]
        return result

    def can(self, task: str) -> bool:
        """Whether there are weights for a task of restoration, or for `refine`."""
        return (self.folder / f"{task}.onnx").is_file()

    def restore(self, task: str, y: Floats, image: Floats) -> Floats:
        """y: (m, H/16, W/16) of the damaged image, at quality 100; image: (H, W, 3 or 4) of 0 to 255. Returns (H, W, 3)."""
        made_for = self._session(task).get_modelmeta().custom_metadata_map.get("model")
        if made_for != self.id:
            raise ModelError(
                f"{self.folder / task}.onnx: made for model {made_for}, not for {self.id}"
            )
        (image,) = self._run(task, {"y": y[None], "image": image})
        return image

    def preview(self, y: Floats, quality: float, scale: int) -> Floats:
        """y: (m, h, w) in 1/64; scale 2, 4 or 8. Returns samples (16h/scale, 16w/scale, 3) of 0 to 255, by a linear g_s."""
        side = 16 // scale  # samples of a cell
        matrix = self.tables["preview"].astype(
            np.float32
        )  # (8, 8, 3, m + 1): samples of a cell at half size; the last: bias
        small = (
            matrix.reshape(side, 8 // side, side, 8 // side, 3, -1)
            .mean((1, 3))
            .reshape(side * side * 3, -1)
        )
        gain = np.exp(-self.row("log_gain_y", quality)[0]) / np.float32(Y_FRACTION)
        m, h, w = y.shape
        samples = small[:, :m] @ (y * gain).reshape(m, -1) + small[:, m:]
        picture: Floats = (
            samples.reshape(side, side, 3, h, w)
            .transpose(3, 0, 4, 1, 2)
            .reshape(h * side, w * side, 3)
        )
        return picture


def content_id(folder: Path) -> str:
    """Eight hexadecimal digits: the start of SHA-256 over the names and hashes of a model folder's files."""
    digest = hashlib.sha256()
    for name in sorted([f"{g}.onnx" for g in GRAPHS] + ["tables.npz"]):
        digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:8]
