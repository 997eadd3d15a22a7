"""The layouts of samples in a .vae file: grey or RGB, with or without alpha, 8 or 16 bits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Color:
    """How the samples of a picture are laid out. There are eight, listed in `COLORS`.

    Attributes:
        code: The value in the file header. Bit 0: RGB, else grey. Bit 1: alpha. Bit 2: 16 bits.
        name: "L", "RGB", "LA" or "RGBA", followed by "16" for 16 bits per sample.
        channels: Samples per pixel, alpha included (1 to 4).
        has_alpha: Whether the last channel is alpha.
        depth: Bits per sample (8 or 16).
        pillow_mode: The Pillow mode that holds these samples exactly, or None if there is none.
    """

    code: int
    name: str
    channels: int
    has_alpha: bool
    depth: int
    pillow_mode: str | None

    def __str__(self) -> str:
        return self.name

    @property
    def color_channels(self) -> int:
        """Channels without alpha: 1 (grey) or 3 (red, green, blue)."""
        return self.channels - self.has_alpha

    @property
    def is_grey(self) -> bool:
        return self.color_channels == 1

    @property
    def peak(self) -> int:
        """The largest sample value: 255 or 65535."""
        return (1 << self.depth) - 1

    @property
    def dtype(self) -> str:
        """Name of the NumPy type of the samples: "uint8" or "uint16"."""
        return f"uint{self.depth}"

    @property
    def sample_bytes(self) -> int:
        return self.depth // 8

    @property
    def as_8_bit(self) -> "Color":
        """The `Color` with the same channels and 8 bits per sample. Pillow has a mode for each."""
        return COLORS[self.code & 0b011]


COLORS = (
    Color(0, "L", 1, False, 8, "L"),
    Color(1, "RGB", 3, False, 8, "RGB"),
    Color(2, "LA", 2, True, 8, "LA"),
    Color(3, "RGBA", 4, True, 8, "RGBA"),
    Color(4, "L16", 1, False, 16, "I;16"),
    Color(5, "RGB16", 3, False, 16, None),
    Color(6, "LA16", 2, True, 16, None),
    Color(7, "RGBA16", 4, True, 16, None),
)  # indexed by code
_BY_NAME = {color.name: color for color in COLORS}


def color_named(name: str) -> Color:
    """Return the `Color` called `name`. Raises KeyError if there is none."""
    return _BY_NAME[name]
