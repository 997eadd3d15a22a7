"""Pictures to latents: g_a over a box of a picture."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import F32
from vaecodec.coding.tiling import CELL_Y, CELL_Z, HALO, pad_to_cells
from vaecodec.image.box import Box
from vaecodec.image.picture import Picture
from vaecodec.model.networks import Networks

Number = TypeVar("Number", bound=np.generic)


def analyse(
    picture: Picture, box: Box, nets: Networks, quality: float, margin: int = 0
) -> tuple[F32, Box]:
    """Return y of a box of a picture, and the pixels that this y covers.

    The network sees as much around these pixels as its view reaches, so y is what the picture
    as a whole would give.

    Args:
        picture: The picture.
        box: A box inside it.
        nets: The networks.
        quality: 1 to 100.
        margin: Pixels to cover on each side beyond the box, where the picture has them.

    Returns:
        y, shape (m, h, w), of the box padded to whole cells of z, and that padded box.
    """
    whole = pad_to_cells(Box(0, 0, picture.width, picture.height), CELL_Z)
    covered = pad_to_cells(box, CELL_Z).grown(margin).within(whole)
    seen = covered.grown(HALO * CELL_Y).within(whole)
    y = nets.analyse(picture.samples(seen), quality)
    return crop_latents(y, CELL_Y, seen, covered), covered


def crop_latents(
    latents: npt.NDArray[Number], cell: int, whole: Box, box: Box
) -> npt.NDArray[Number]:
    """Return the latents of a box out of those of `whole`. Both lie on the grid of cells."""
    return np.ascontiguousarray(latents[:, *box.slices_in(whole, cell)])
