"""Restore pictures: remove noise, fill in missing parts, or double the size.

Each task uses the codec's g_a, and a synthesis of its own.
"""

import numpy as np
from PIL import Image

from vaecodec._arrays import F32, Bools, Samples
from vaecodec.coding.session import start_session
from vaecodec.coding.tiling import CELL_Y, HALO, pad_to_cells
from vaecodec.errors import ImageError, ModelError, ParameterError
from vaecodec.format.color import color_named
from vaecodec.image.box import Box
from vaecodec.image.canvas import to_samples
from vaecodec.image.picture import ImageSource, Picture, as_picture
from vaecodec.model.networks import Networks
from vaecodec.model.registry import model_for_task

# Channels that the synthesis of each task sees: colours, and a mask.
INPUT_CHANNELS = {"denoise": 3, "inpaint": 4, "superres": 3}
MAX_RESTORED_PIXELS = 2**26
TILE_LOG2 = 9  # the result is made in tiles of 512 x 512 pixels
REACH = 2 * HALO * CELL_Y  # pixels that g_a and the synthesis see together
ANALYSIS_QUALITY = 100


def restore(
    task: str,
    source: Picture | ImageSource,
    mask: Bools | None = None,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Image.Image:
    """Restore a picture.

    Args:
        task: "denoise", "inpaint" (fill in missing pixels) or "superres" (double the size).
        source: The picture, as for `encode`. Alpha is not kept.
        mask: For inpaint only: shape (H, W), True where pixels are missing.
        model: Id or folder of a model. None is a packaged model that has weights for the task.
        threads: Number of threads. 0 is one per core.

    Returns:
        An RGB image of the same size, or of twice the width and height for superres. It has at
        most 64 megapixels.

    Raises:
        ImageError: The picture cannot be read or is too large, or the mask has another size.
        ModelError: The model has no weights for the task.
        ParameterError: The task is unknown, or the mask is missing or not wanted.

    Example:
        >>> vaecodec.restore("denoise", "photo.png").mode
        'RGB'
    """
    if task not in INPUT_CHANNELS:
        raise ParameterError(f"task must be denoise, inpaint or superres, not {task}")
    picture = as_picture(source)
    _check_mask(task, mask, picture)
    factor = 2 if task == "superres" else 1
    width = picture.width * factor
    height = picture.height * factor
    session = start_session(
        width,
        height,
        ANALYSIS_QUALITY,
        max_pixels=MAX_RESTORED_PIXELS,
        model=model or model_for_task(task),
        threads=threads,
        tile_code=TILE_LOG2,
    )
    nets = session.nets
    if not nets.has_weights_for(task):
        raise ModelError(f"model {nets.id} has no weights for {task}")
    samples = _input_samples(picture, factor, mask)
    result = np.empty((height, width, 3), np.uint8)
    rgb = color_named("RGB")
    for row in session.grid.blocks(session.grid.picture):
        restored = session.pool.map(lambda box: _restore_box(task, samples, box, nets), row)
        for box, box_samples in zip(row, restored, strict=True):
            result[box.y0 : box.y1, box.x0 : box.x1] = to_samples(box_samples, rgb)
    if mask is not None:
        result[~mask] = samples[~mask][:, :3]
    return Image.fromarray(result)


def _check_mask(task: str, mask: Bools | None, picture: Picture) -> None:
    if task == "inpaint" and mask is None:
        raise ParameterError("inpaint needs a mask of the missing pixels")
    if task != "inpaint" and mask is not None:
        raise ParameterError(f"{task} takes no mask")
    if mask is not None and mask.shape != (picture.height, picture.width):
        raise ImageError(
            "the mask and the picture have different sizes, "
            f"{mask.shape[1]} x {mask.shape[0]} and {picture.width} x {picture.height} pixels"
        )


def _input_samples(picture: Picture, factor: int, mask: Bools | None) -> Samples:
    """Return what the synthesis sees, (H, W, 3 or 4), uint8, at the size of the result."""
    samples = picture.samples(Box(0, 0, picture.width, picture.height))
    if samples.dtype != np.uint8:
        samples = np.rint(samples).astype(np.uint8)
    if factor > 1:
        size = (factor * picture.width, factor * picture.height)
        enlarged = Image.fromarray(samples).resize(size, Image.Resampling.BICUBIC)
        samples = np.asarray(enlarged)
    if mask is not None:
        samples = np.dstack([fill_masked(samples, mask), mask.astype(np.uint8) * 255])
    return samples


def _restore_box(task: str, samples: Samples, box: Box, nets: Networks) -> F32:
    """Return the restored samples of a box, from what surrounds it."""
    whole = Box(0, 0, samples.shape[1], samples.shape[0])
    seen = pad_to_cells(box, CELL_Y).grown(REACH).within(pad_to_cells(whole, CELL_Y))
    inside = seen.within(whole)
    beyond = ((0, seen.y1 - inside.y1), (0, seen.x1 - inside.x1), (0, 0))
    cut = samples[inside.slices_in(whole)]
    padded = np.pad(cut, beyond, mode="edge").astype(np.float32)
    y = nets.analyse(padded[:, :, :3], ANALYSIS_QUALITY)
    restored = nets.restore(task, y, padded)
    return restored[box.slices_in(seen)]


def fill_masked(samples: Samples, mask: Bools) -> Samples:
    """Return samples (H, W, 3), uint8, with the missing pixels filled smoothly.

    Each missing pixel takes the mean of the known pixels in the smallest square (2 x 2, 4 x 4,
    ...) that holds any. Between the squares, the means are interpolated.
    """
    known = (~mask).astype(np.float32)[:, :, None]
    filled = _pull(samples * known, known)
    rounded = np.clip(np.rint(filled), 0, 255)
    return np.where(mask[:, :, None], rounded, samples).astype(np.uint8)


def _pull(total: F32, weight: F32) -> F32:
    """Return the means of known pixels, with gaps filled from half the size.

    `total` (h, w, 3) are sums of known pixels, `weight` (h, w, 1) are their numbers.
    """
    h, w = weight.shape[:2]
    mean: F32 = total / np.maximum(weight, 1e-6)
    if (weight > 0).all() or h * w == 1:
        return mean
    small = _pull(_halved(total), _halved(weight))
    size = (w + w % 2, h + h % 2)
    bands = []
    for band in range(small.shape[2]):
        enlarged = Image.fromarray(small[:, :, band]).resize(size, Image.Resampling.BILINEAR)
        bands.append(np.asarray(enlarged)[:h, :w])
    return np.where(weight > 0, mean, np.stack(bands, 2))


def _halved(values: F32) -> F32:
    """Return the means over squares of 2 x 2, padded with zeros."""
    h, w = values.shape[:2]
    padded = np.pad(values, ((0, h % 2), (0, w % 2), (0, 0)))
    halved: F32 = padded.reshape((h + 1) // 2, 2, (w + 1) // 2, 2, -1).mean((1, 3))
    return halved
