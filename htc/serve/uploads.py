"""Pictures that come over the network: bounded before they are decoded."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from htc.data.errors import DatasetError
from htc.data.pictures import read_picture


@dataclass(frozen=True)
class Limits:
    """What the service takes on.

    body_bytes: of an upload. pixels: of its picture, once decoded. queue: pictures that wait.
    """

    body_bytes: int = 20 * 2**20
    pixels: int = 50_000_000
    queue: int = 32


class Refused(Exception):
    """An upload that is not taken: an HTTP status and a sentence for the client."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


def decode(body: bytes, limits: Limits) -> np.ndarray:
    """The picture in an upload, upright RGB [H, W, 3] uint8.

    Its size is read from the header first: a small file may hold a picture that fills the memory.

    Raises:
        Refused: 400 no picture or damaged, 413 too many pixels.
    """
    if not body:
        raise Refused(400, "the body is empty; send the bytes of a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise _too_many(limits) from None
    except Exception:  # Pillow's readers raise anything on damaged files
        raise Refused(400, "the body is not a picture of a known format") from None
    if width * height > limits.pixels:
        raise _too_many(limits, f" ({width} x {height})")
    try:
        return read_picture(io.BytesIO(body), "the picture")
    except DatasetError:
        raise Refused(400, "the picture is damaged, or its pixels have no meaning as RGB") from None


def _too_many(limits: Limits, size: str = "") -> Refused:
    return Refused(413, f"the picture{size} has more than {limits.pixels} pixels")
