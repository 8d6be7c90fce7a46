"""Picture files to arrays.

Pillow decodes and resizes: Paddle already depends on it (OpenCV would be one more large package, with
its own limits on NumPy and threads of its own in every worker), its JPEG pixels are those of OpenCV,
and when it enlarges its bilinear filter is within one grey level of OpenCV's. When it shrinks it
averages, where OpenCV skips pixels.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from htc.data.errors import ChannelError, DatasetError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm")

# What Pillow's readers raise on a damaged file.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_ORIENTATION = 0x0112  # the EXIF tag; its values say how the picture must be turned to be upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


def read_picture(path: str | Path, name: str = "picture") -> np.ndarray:
    """One picture as RGB, upright.

    EXIF orientation is applied. Grey, palette and CMYK pictures become RGB; of 16-bit pictures the
    high byte is kept (rounded where there is one channel); an alpha channel is dropped, as OpenCV
    and so the reference do.

    Args:
        path: a file that Pillow reads.
        name: what errors call it, such as "picture 17".

    Returns:
        [H, W, 3] uint8, writable.

    Raises:
        DatasetError: no such file, not a picture, truncated, or without a meaning as RGB.
    """
    with _opened(path, name) as image:
        image.load()
        rgb = _to_rgb(image, f"{name}: {path}")
        turn = _TURNS.get(_orientation(image))
        return np.array(rgb.transpose(turn) if turn is not None else rgb)


def picture_size(path: str | Path, name: str = "picture") -> tuple[int, int, int]:
    """(height, width, EXIF orientation) of the upright picture, from the file's header."""
    with _opened(path, name) as image:
        orientation = left = _orientation(image)
        if image.format == "TIFF":
            image.load()  # Pillow turns TIFF files by itself, in some versions while it decodes
            left = _orientation(image)
        width, height = image.size
    return (width, height, orientation) if left in _SIDEWAYS else (height, width, orientation)


def read_label_map(path: str | Path, name: str = "picture") -> np.ndarray:
    """A semantic map: [H, W] uint8, the class of each pixel; of palette files the index.

    Raises:
        DatasetError: no such file, damaged, labels above 255; ChannelError: several channels.
    """
    name = f"semantic map of {name}"
    with _opened(path, name) as image:
        image.load()
        channels = len(image.getbands())
        if channels != 1:
            raise ChannelError(
                f"{name}: {path}: expected one channel of class ids, got {channels} ({image.mode});"
                " save ids, not colours"
            )
        labels = np.array(image)
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind == "f":
        raise DatasetError(f"{name}: {path}: expected whole numbers, got {image.mode} pixels")
    if labels.size and (labels.max() > 255 or labels.min() < 0):
        raise DatasetError(
            f"{name}: {path}: expected class ids 0..254 or 255 (ignored),"
            f" got {labels.min()}..{labels.max()}"
        )
    return labels.astype(np.uint8)


def resize_picture(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, 3] uint8 to [height, width, 3], bilinear (with averaging where it shrinks)."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def check_size(name: str, path, expected: tuple[int, int], actual: tuple[int, int], turned: int):
    """Raise DatasetError where a file's (height, width) is not what the annotations say."""
    if expected == actual:
        return
    hint = ""
    if turned in _SIDEWAYS and expected == actual[::-1]:
        hint = (
            f"; its EXIF orientation ({turned}) turns it, and the annotations were drawn on the"
            " unturned picture: remove the tag, or turn the annotations"
        )
    raise DatasetError(
        f"{name}: {path}: the annotations say {expected[1]} x {expected[0]} (width x height), the"
        f" file has {actual[1]} x {actual[0]}{hint}"
    )


@contextmanager
def _opened(path, name: str):
    try:
        with Image.open(path) as image:
            yield image
    except DatasetError:
        raise
    except FileNotFoundError:
        raise DatasetError(f"{name}: no such file: {path}") from None
    except _DAMAGE as error:
        raise DatasetError(f"{name}: cannot read {path}: {error}") from None


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block, in any of many ways, says nothing about orientation
        return 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise DatasetError(
                f"{name}: expected 8- or 16-bit values, got {values.min()}..{values.max()}"
            )
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise DatasetError(f"{name}: expected whole numbers for pixels, got floating point")
    if image.mode == "P":
        # By way of RGBA: a palette whose entries have alpha of their own cannot be turned directly.
        image = image.convert("RGBA")
    return image.convert("RGB")
