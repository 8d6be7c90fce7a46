"""Detections drawn over their picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from htc.detections import Detections

MIN_LONG_SIDE = 384  # px: smaller pictures are enlarged by a whole factor


def colour(number: int) -> tuple[int, int, int]:
    """A bright colour; neighbouring numbers get far-apart hues (steps of the golden ratio)."""
    red, green, blue = colorsys.hsv_to_rgb((number * 0.618034) % 1.0, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def enlargement(height: int, width: int) -> int:
    """The whole factor that a picture is enlarged by, so that names and edges can be made out."""
    return max(1, -(-MIN_LONG_SIDE // max(height, width)))


def draw(
    picture: np.ndarray,
    detections: Detections,
    scale: int | None = None,
    colours: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """Masks, boxes, names and scores over a picture.

    Args:
        picture: [H, W, 3] uint8 RGB.
        detections: of this picture; the best is drawn last, on top.
        scale: whole factor to enlarge by, both ways; None: see `enlargement`.
        colours: number of each detection's colour; None: 0, 1, ...
        captions: of each detection; None: its class and score.

    Returns:
        [H * scale, W * scale, 3] uint8 RGB.
    """
    height, width = picture.shape[:2]
    scale = enlargement(height, width) if scale is None else scale
    shades = [colour(number) for number in colours or range(len(detections))]
    captions = _captions(detections) if captions is None else captions
    canvas = picture.astype(np.float32).repeat(scale, 0).repeat(scale, 1)
    order = range(len(detections) - 1, -1, -1)
    if detections.masks is not None:
        bitmaps = detections.bitmaps()
        for row in order:
            mask = bitmaps[row].repeat(scale, 0).repeat(scale, 1) > 0
            shade = np.array(shades[row], np.float32)
            canvas[mask] = 0.55 * canvas[mask] + 0.45 * shade
            canvas[mask & ~_eroded(mask)] = shade
    image = Image.fromarray(canvas.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for row in order:
        x1, y1, x2, y2 = (float(value) * scale for value in detections.boxes[row])
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=shades[row])
    for row in order:  # names last: no box crosses them
        x1, y1 = (float(value) * scale for value in detections.boxes[row][:2])
        right, bottom = pen.textbbox((0, 0), captions[row])[2:]
        x = min(max(0.0, x1), max(0, image.width - right - 4))
        y = max(0.0, y1 - bottom - 3)
        pen.rectangle((x, y, x + right + 3, y + bottom + 2), fill=shades[row])
        pen.text((x + 2, y), captions[row], fill=(0, 0, 0))
    return np.asarray(image)


def _captions(detections: Detections) -> list[str]:
    names = detections.class_names
    labels = [int(label) for label in detections.labels]
    return [
        f"{names[label] if names else label} {score:.2f}"
        for label, score in zip(labels, detections.scores, strict=True)
    ]


def _eroded(mask: np.ndarray) -> np.ndarray:
    """The pixels whose four neighbours are mask, too; those at the picture's edge are not."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    return inside & padded[1:-1, :-2] & padded[1:-1, 2:]
