"""Synthetic pictures, for what photographs do not teach: dithers, stripes, noise, text."""

import string
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]


def synthetic_picture(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Return a picture of a random kind with the shape of `photo`, (side, side, 3).

    Most kinds are made from the photo.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    return np.ascontiguousarray(kind(rng, photo))


def random_colors(rng: np.random.Generator, count: int) -> Pixels:
    """Draw colours (count, 3). Half of the draws are greys; half use only the values 0 and 255."""
    drawn = rng.integers(0, 256, (count, 3 if rng.random() < 0.5 else 1))
    if rng.random() < 0.5:
        drawn = np.where(drawn < 128, 0, 255)
        drawn[0] = 255 - drawn[-1]  # at least two differ
    return np.broadcast_to(drawn, (count, 3)).astype(np.uint8)


def dithered(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Dither the photo in black and white, or in a few colours."""
    image = Image.fromarray(photo)
    if rng.random() < 0.5:
        return np.asarray(image.convert("1").convert("RGB"))
    palette = image.quantize(int(rng.integers(2, 17)), Image.Quantize.FASTOCTREE)
    return np.asarray(
        image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    )


def threshold(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Reduce the photo to two colours with hard edges, like a scan or a stencil."""
    grey = photo.mean(2)
    paper, ink = random_colors(rng, 2)
    return np.where((grey > np.quantile(grey, rng.uniform(0.2, 0.8)))[:, :, None], paper, ink)


def tiles(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Repeat a small pattern: stripes, checkers or random cells."""
    side = photo.shape[0]
    height, width = rng.integers(1, 9, 2)
    if rng.random() < 0.5:  # stripes
        height, width = (1, max(2, width)) if rng.random() < 0.5 else (max(2, height), 1)
    count = int(rng.integers(2, 5))
    cell = rng.integers(0, count, (height, width))
    cell.flat[:2] = (0, count - 1)[: cell.size]
    return np.tile(random_colors(rng, count)[cell], (-(-side // height), -(-side // width), 1))[
        :side, :side
    ]


def pixel_art(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Enlarge a small version of the photo with few colours, each pixel to a square."""
    side = photo.shape[0]
    factor = int(rng.integers(1, 9))
    small = Image.fromarray(photo).resize((-(-side // factor),) * 2, Image.Resampling.BOX)
    small = small.quantize(
        int(rng.integers(2, 33)), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    ).convert("RGB")
    return np.asarray(small).repeat(factor, 0).repeat(factor, 1)[:side, :side]


def noisy(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Add grey or coloured noise to the photo, from weak to overwhelming."""
    noise = rng.normal(0, 2 ** rng.uniform(2, 7), (*photo.shape[:2], int(rng.choice([1, 3]))))
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


def text(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Draw boxes and lines of letters on one colour, or on the photo."""
    side = photo.shape[0]
    paper, *inks = (tuple(int(v) for v in color) for color in random_colors(rng, 4))
    image = Image.fromarray(photo) if rng.random() < 0.25 else Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 6))):
        (x0, x1), (y0, y1) = np.sort(rng.integers(0, side, (2, 2)), 1).tolist()
        draw.rectangle((x0, y0, x1, y1), inks[0] if rng.random() < 0.5 else None, inks[1])
    y = 0
    while y < side:
        size = int(rng.integers(7, 30))
        letters = rng.choice(
            list(string.ascii_letters + string.digits + "      .,-"),
            int(rng.integers(1, 3 * side // size)),
        )
        draw.text(
            (int(rng.integers(0, side // 4)), y),
            "".join(letters),
            inks[2],
            ImageFont.load_default(size),
        )
        y += int(size * rng.uniform(1, 2))
    return np.asarray(image)


KINDS: list[Callable[[np.random.Generator, Pixels], Pixels]] = [
    dithered,
    threshold,
    tiles,
    pixel_art,
    noisy,
    text,
]
