"""Pictures without noise, with missing parts filled in, or twice as large: the codec's g_a, and a synthesis for each task."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Y, HALO, Grid, padded
from vaecodec.errors import ImageError, ModelError
from vaecodec.format.color import color_named
from vaecodec.image.box import Box
from vaecodec.image.canvas import to_samples
from vaecodec.image.picture import Picture, Samples, as_picture, check_size
from vaecodec.model import registry
from vaecodec.model.networks import Networks

HINTS = {
    "denoise": 3,
    "inpaint": 4,
    "superres": 3,
}  # channels that the synthesis sees: colours, and a mask
LARGEST = 2**26  # pixels of the result
SIDE = 512  # pixels restored at once
REACH = 2 * HALO * CELL_Y  # as far as g_a and the synthesis see together


def restore(
    task: str,
    image: Picture | Image.Image | Samples,
    mask: npt.NDArray[np.bool_] | None = None,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Image.Image:
    """The restored picture (RGB; alpha is not kept), of the same size; of twice the width and height for superres.

    task: denoise, inpaint or superres. mask: (H, W), true where pixels are missing; for inpaint alone.
    Raises ImageError for a mask of another size, ModelError where the model has no weights for the task.
    """
    picture = as_picture(image)
    if (mask is None) == (task == "inpaint"):
        raise ImageError(
            "inpaint needs a mask of the missing pixels"
            if mask is None
            else f"{task} takes no mask"
        )
    if mask is not None and mask.shape != (picture.height, picture.width):
        sizes = f"{mask.shape[1]} x {mask.shape[0]} and {picture.width} x {picture.height}"
        raise ImageError(f"the mask and the picture have different sizes, {sizes} pixels")
    factor = 2 if task == "superres" else 1
    check_size(picture.width * factor, picture.height * factor, LARGEST)
    crew = Crew(
        model or registry.model_for_task(task),
        threads,
        picture.width * picture.height * factor**2 > SIDE**2,
    )
    if not crew.nets.can(task):
        raise ModelError(f"model {crew.nets.id} has no weights for {task}")
    whole = picture.samples(Box(0, 0, picture.width, picture.height))
    if whole.dtype != np.uint8:
        whole = np.rint(whole).astype(np.uint8)
    if factor == 2:
        whole = np.asarray(
            Image.fromarray(whole).resize(
                (2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC
            )
        )
    if mask is not None:
        whole = np.dstack([fill_masked(whole, mask), mask.astype(np.uint8) * 255])
    result = np.empty((*whole.shape[:2], 3), np.uint8)
    for row in Grid(whole.shape[1], whole.shape[0], SIDE).blocks(
        Box(0, 0, whole.shape[1], whole.shape[0])
    ):
        for box, samples in zip(
            row, crew.map(lambda box: _part(task, whole, box, crew.nets), row), strict=True
        ):
            result[box.y0 : box.y1, box.x0 : box.x1] = to_samples(samples, color_named("RGB"))
    if mask is not None:
        result[~mask] = whole[~mask][:, :3]
    return Image.fromarray(result)


def _part(task: str, whole: Samples, box: Box, nets: Networks) -> Samples:
    """Restored samples of a box, from what surrounds it."""
    size = Box(0, 0, whole.shape[1], whole.shape[0])
    seen = padded(box, CELL_Y).grown(REACH).within(padded(size, CELL_Y))
    inside = seen.within(size)
    image = np.pad(
        whole[inside.y0 : inside.y1, inside.x0 : inside.x1],
        ((0, seen.y1 - inside.y1), (0, seen.x1 - inside.x1), (0, 0)),
        mode="edge",
    ).astype(np.float32)
    restored = nets.restore(task, nets.analyse(image[:, :, :3], 100), image)
    return restored[box.y0 - seen.y0 : box.y1 - seen.y0, box.x0 - seen.x0 : box.x1 - seen.x0]


def fill_masked(image: Samples, mask: npt.NDArray[np.bool_]) -> Samples:
    """(H, W, 3) uint8 with the missing pixels filled smoothly: each takes the mean of the known ones in the smallest square, of
    2 x 2, 4 x 4, ... pixels, that holds any, and the steps between are interpolated."""
    known = (~mask).astype(np.float32)[:, :, None]
    filled = _pull(image * known, known)
    return np.where(mask[:, :, None], np.clip(np.rint(filled), 0, 255), image).astype(np.uint8)


def _pull(
    total: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Means of what is known, gaps filled from half the size; total: (h, w, 3) sums, weight: (h, w, 1)."""
    h, w = weight.shape[:2]
    mean: npt.NDArray[np.float32] = total / np.maximum(weight, 1e-6)
    if (weight > 0).all() or h * w == 1:
        return mean
    edges = ((0, h % 2), (0, w % 2), (0, 0))
    halves = [
        np.pad(a, edges).reshape((h + 1) // 2, 2, (w + 1) // 2, 2, -1).mean((1, 3))
        for a in (total, weight)
    ]
    small = _pull(halves[0], halves[1])
    bands = [
        np.asarray(
            Image.fromarray(small[:, :, band]).resize(
                (w + w % 2, h + h % 2), Image.Resampling.BILINEAR
            )
        )[:h, :w]
        for band in range(small.shape[2])
    ]
    return np.where(weight > 0, mean, np.stack(bands, 2))
