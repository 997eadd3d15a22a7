"""Pictures in memory: what is encoded, seen box by box, and what is decoded into."""

import io
import re
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Transpose as Turn

from vaecodec.errors import ImageError
from vaecodec.format import container
from vaecodec.format.container import MAX_PIXELS
from vaecodec.image.box import Box

Samples = npt.NDArray[Any]  # uint8 or uint16
PLAIN_MODES = {"L": "L", "RGB": "RGB", "LA": "LA", "RGBA": "RGBA", "I;16": "L16"}
CONVERTED_MODES = {
    "1": "L",
    "YCbCr": "RGB",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "I;16B": "I;16",
    "I;16L": "I;16",
}
METADATA = tuple(container.METADATA.values())
ORIENTATION = 0x0112
UPRIGHT = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}  # what EXIF's orientations ask for
# Of a TIFF file's tags, what EXIF has too: description, make, model, resolution, program, date, artist, copyright, Exif, GPS.
DESCRIPTIVE = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 0x8769, 0x8825}


def cut(source: Image.Image | Samples, box: Box) -> Samples:
    """(h, w, channels) of a box inside a PIL image or an array (H, W, channels)."""
    if isinstance(source, Image.Image):
        array = np.asarray(source.crop((box.x0, box.y0, box.x1, box.y1)))
        return array[:, :, None] if array.ndim == 2 else array
    return source[box.y0 : box.y1, box.x0 : box.x1]


class Picture:
    """What is encoded: a PIL image or an array of samples, seen box by box so that large ones are not copied as a whole.

    color: one of container.COLORS. metadata: icc_profile, exif, xmp. notes: what had to be changed, a sentence each.
    exif: instead of the image's own. Raises ImageError.
    """

    def __init__(
        self,
        image: Image.Image | Samples,
        max_pixels: int = MAX_PIXELS,
        exif: bytes | Image.Exif | None = None,
    ):
        self.metadata: dict[str, bytes] = {}
        self.notes: list[str] = []
        if isinstance(image, Image.Image):
            check_size(*image.size, max_pixels)
            image = self._plain(image, exif)
        self.source: Image.Image | Samples
        if isinstance(image, Image.Image):
            self.source = image
            self.color = PLAIN_MODES[image.mode]
            self.width, self.height = image.size
        else:
            self.source = np.asarray(image)
            if self.source.dtype not in (np.uint8, np.uint16):
                raise ImageError(f"arrays must be uint8 or uint16, not {self.source.dtype}")
            channels = (
                1 if self.source.ndim == 2 else self.source.shape[2] if self.source.ndim == 3 else 0
            )
            if not 1 <= channels <= 4:
                raise ImageError(
                    f"arrays must have shape (H, W) or (H, W, 1 to 4), not {self.source.shape}"
                )
            if self.source.ndim == 2:
                self.source = self.source[:, :, None]
            self.height, self.width = self.source.shape[:2]
            check_size(self.width, self.height, max_pixels)
            self.color = ("L", "LA", "RGB", "RGBA")[channels - 1] + (
                "16" if self.source.dtype == np.uint16 else ""
            )

    def _plain(self, image: Image.Image, exif: bytes | Image.Exif | None) -> Image.Image | Samples:
        """The image upright, in one of the modes that are kept as they are, or as an array; its metadata is taken."""
        image.load()  # Pillow turns TIFF by itself then
        clear = image.info.get("transparency")
        self.metadata, self.notes, orientation = metadata_of(image, exif)
        if orientation in UPRIGHT:
            image = image.transpose(UPRIGHT[orientation])
        if image.mode == "CMYK":
            image = self._from_cmyk(image)
        elif image.mode in ("P", "PA"):
            image = image.convert("RGB" if image.mode == "P" and clear is None else "RGBA")
        elif clear is not None and image.mode in ("1", "L", "I;16"):
            grey = np.asarray(image.convert("L") if image.mode == "1" else image)
            return with_clear(grey[:, :, None], (clear,))
        elif clear is not None and image.mode == "RGB":
            image = image.convert("RGBA")
        elif image.mode == "I" and image.getextrema()[0] >= 0 and image.getextrema()[1] < 2**16:  # type: ignore[operator]
            image = Image.fromarray(np.asarray(image).astype(np.uint16))
        elif image.mode in CONVERTED_MODES:
            image = image.convert(CONVERTED_MODES[image.mode])
        if image.mode not in PLAIN_MODES:
            raise ImageError(
                f"images of mode {image.mode} cannot be represented; convert to RGB or L (greyscale) first"
            )
        return image

    def _from_cmyk(self, image: Image.Image) -> Image.Image:
        """RGB: by the image's profile where it has one, else by Pillow's plain formula."""
        from PIL import ImageCms

        profile = self.metadata.pop("icc_profile", None)
        if profile is not None:
            try:
                source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
                converted = ImageCms.profileToProfile(
                    image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                assert converted is not None
                self.notes.append("its CMYK colours are converted to sRGB by their profile")
                return converted
            except (ImageCms.PyCMSError, OSError):
                pass
        self.notes.append("its CMYK colours are converted to RGB without a profile")
        return image.convert("RGB")

    def samples(self, box: Box) -> Samples:
        """(h, w, 3): red, green and blue, uint8, or float32 of 0 to 255 for 16 bits; grey three times. Beyond the right and
        lower edges, the last column and row go on."""
        inside = box.within(Box(0, 0, self.width, self.height))
        array = cut(self.source, inside)
        array = array[:, :, : 3 if "RGB" in self.color else 1]
        if array.dtype == np.uint16:
            array = array.astype(np.float32) / np.float32(257)
        if array.shape[2] == 1:
            array = np.repeat(array, 3, axis=2)
        below, right = box.y1 - inside.y1, box.x1 - inside.x1
        if below or right:
            array = np.pad(array, ((0, below), (0, right), (0, 0)), mode="edge")
        return np.ascontiguousarray(array)

    def colors(self) -> Samples:
        """All of it without alpha: (H, W), or (H, W, 3)."""
        array = cut(self.source, Box(0, 0, self.width, self.height))
        return array[:, :, :3] if "RGB" in self.color else array[:, :, 0]

    def alpha(self, box: Box) -> Samples:
        """(h, w) of a box inside the picture, uint8 or uint16."""
        return cut(self.source, box)[:, :, -1]


def metadata_of(
    image: Image.Image, exif: bytes | Image.Exif | None = None
) -> tuple[dict[str, bytes], list[str], int]:
    """Profile, EXIF and XMP of an image, made to say that the pixels are upright; notes of what is left out; and the
    orientation that the pixels have by EXIF, 1 to 8. exif: instead of the image's own."""
    notes = []
    if (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"only the first of its {frames} frames or pages is kept")
    metadata: dict[str, bytes] = {}
    for name in METADATA:
        data = image.info.get(name)
        if isinstance(data, (bytes, str)) and data:
            metadata[name] = data.encode() if isinstance(data, str) else data
    if "xmp" in metadata:
        metadata["xmp"] = re.sub(
            rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)\d", rb"\g<1>1", metadata["xmp"]
        )
    if exif is not None:
        metadata["exif"] = exif if isinstance(exif, bytes) else exif.tobytes()
    orientation = 1
    try:
        tags = Image.Exif()
        with warnings.catch_warnings(action="ignore"):
            tags.load(image.getexif().tobytes() if exif is None else metadata["exif"])
        orientation = tags.get(ORIENTATION, 1)
        if exif is None and image.format == "TIFF":
            for tag in set(tags) - DESCRIPTIVE:
                del tags[tag]
        if orientation != 1:
            tags[ORIENTATION] = 1
        if tags and (orientation != 1 or "exif" not in metadata):
            metadata["exif"] = tags.tobytes()
    except Exception:  # Pillow's parser raises many kinds
        notes.append("its EXIF is damaged and is left out")
        metadata.pop("exif", None)
        orientation = 1
    return metadata, notes, orientation


def check_size(width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"the image is empty ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} pixels are more than the {max_pixels} allowed")


def with_clear(array: Samples, clear: tuple[int, ...]) -> Samples:
    """(H, W, C) -> (H, W, C + 1): with an alpha that is 0 where the samples are `clear`, and full elsewhere."""
    top = np.iinfo(array.dtype).max
    alpha = np.where((array == np.array(clear)).all(2, keepdims=True), 0, top).astype(array.dtype)
    return np.concatenate([array, alpha], axis=2)


def alpha_bytes(alpha: Samples) -> bytes:
    """A plane (h, w) without loss: one sample where all are equal, else a PNG file."""
    if (alpha == alpha.flat[0]).all():
        return int(alpha.flat[0]).to_bytes(alpha.dtype.itemsize, "big")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(alpha)).save(out, "PNG", optimize=alpha.dtype == np.uint8)
    return out.getvalue()


def alpha_plane(data: bytes, width: int, height: int, depth: int) -> Samples:
    """(height, width), uint8 or uint16. Raises ImageError for anything but what alpha_bytes gives for this size."""
    kind = np.uint16 if depth == 16 else np.uint8
    if len(data) == depth // 8:
        return np.full((height, width), int.from_bytes(data, "big"), kind)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (width, height) or image.mode not in (
                ("I;16", "I") if depth == 16 else ("L",)
            ):
                raise ImageError("its alpha has another size or depth than the tile")
            plane: Samples = np.asarray(image).astype(kind)
            return plane
    except ImageError:
        raise
    except Exception:  # Pillow's decoders raise many kinds for damaged files
        raise ImageError("its alpha cannot be read") from None


def as_picture(
    image: Picture | Image.Image | Samples,
    max_pixels: int = MAX_PIXELS,
    exif: bytes | Image.Exif | None = None,
) -> Picture:
    """A picture, or one made of an image or an array as `encode` takes them; warns of what had to be changed (UserWarning).
    Raises ImageError."""
    if isinstance(image, Picture):
        return image
    picture = Picture(image, max_pixels, exif)
    for note in picture.notes:
        warnings.warn(note, stacklevel=3)
    return picture
