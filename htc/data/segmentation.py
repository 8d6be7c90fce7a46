"""Segmentations of a COCO json, checked and made compact: polygons, uncompressed and compressed RLE."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle_tools

from htc.data.masks import Segmentation


class SegmentationError(ValueError):
    """A segmentation that cannot be used; `kind` is that of htc.data.problems."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


def parse_segmentation(value, height: int, width: int) -> tuple[Segmentation, int]:
    """A segmentation as the json holds it to the compact form of htc.data.masks.

    Args:
        value: list of polygons [x, y, x, y, ...], or an RLE dict with `size` [height, width] and
            `counts`, a list of run lengths or COCO's compressed string.
        height, width: of the picture.

    Returns:
        (segmentation, number of polygons passed over for having less than three points).

    Raises:
        SegmentationError: unusable, or empty.
    """
    if isinstance(value, list):
        return _parse_polygons(value)
    if isinstance(value, dict):
        return _parse_rle(value, height, width), 0
    raise SegmentationError(
        "malformed entry",
        f"segmentation: expected polygons or an RLE, got {type(value).__name__}",
    )


def _parse_polygons(value: list) -> tuple[list[np.ndarray], int]:
    polygons = []
    for polygon in value:
        try:
            points = np.asarray(polygon, np.float32)
        except (TypeError, ValueError):
            points = None
        if points is None or points.ndim != 1 or points.size % 2 or not np.isfinite(points).all():
            raise SegmentationError(
                "malformed entry",
                f"segmentation: expected polygons [x, y, x, y, ...], got {str(polygon)[:60]}",
            )
        if points.size >= 6:
            polygons.append(points)
    if not polygons:
        got = "no polygon" if not value else "only polygons of less than three points"
        raise SegmentationError("empty mask", f"segmentation: {got}")
    return polygons, len(value) - len(polygons)


def _parse_rle(value: dict, height: int, width: int) -> dict:
    size, counts = value.get("size"), value.get("counts")
    if list(size or []) != [height, width]:
        raise SegmentationError(
            "rle size", f"RLE: expected size [height, width] {[height, width]}, got {size}"
        )
    if isinstance(counts, list):
        runs = counts
        if not all(isinstance(run, int) and run >= 0 for run in runs):
            raise SegmentationError("malformed entry", "RLE: expected counts of whole numbers >= 0")
        runs = np.array(runs, np.int64)
    elif isinstance(counts, str):
        runs = _runs(counts.encode())
    else:
        raise SegmentationError(
            "malformed entry", f"RLE: expected counts, got {type(counts).__name__}"
        )
    # Unchecked, the C code of pycocotools writes beyond its picture.
    if runs is None or (runs < 0).any():
        raise SegmentationError("malformed entry", "RLE: counts is not a COCO RLE string")
    if runs.sum() != height * width:
        raise SegmentationError(
            "rle size",
            f"RLE: expected counts of {height * width} pixels ({height} x {width}), got {runs.sum()}",
        )
    if runs[1::2].sum() == 0:
        raise SegmentationError("empty mask", "RLE: covers no pixel")
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts.encode()}
    return rle_tools.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _runs(counts: bytes) -> np.ndarray | None:
    """Run lengths of a compressed RLE string; None where it is none.

    Five bits a character, lowest first, bit 5: more follow, bit 4 of the last: the sign. From the
    fourth run on, the difference to the run two before (maskApi.c, rleFrString).
    """
    bits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if bits.size == 0 or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        return None
    ends = np.flatnonzero((bits & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(bits.size) - np.repeat(starts, ends - starts + 1)
    if place.max() > 10:  # more bits than any picture needs
        return None
    runs = np.add.reduceat((bits & 31) << (5 * place), starts)
    negative = (bits[ends] & 16) != 0
    runs = runs - np.where(negative, np.int64(1) << (5 * (place[ends] + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def crosses_itself(polygon: np.ndarray) -> bool:
    """Whether two sides that are not neighbours cross in their insides ([2 * N] x, y, ...).

    Sides that only touch, and points that lie twice in a row, do not count: annotators' tools make
    both, and they do no harm.
    """
    points = polygon.reshape(-1, 2).astype(np.float64)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    count = len(points)
    if count < 4:
        return False
    start, end = points, np.roll(points, -1, axis=0)
    # Side of every point to every line: [line, point].
    side = np.sign(_cross(end - start, start[None, :] - start[:, None]))
    straddles = side * np.roll(side, -1, axis=1) < 0  # [line, side]: its ends are on both sides
    return bool((straddles & straddles.T).any())


def _cross(direction: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return direction[:, None, 0] * offset[..., 1] - direction[:, None, 1] * offset[..., 0]
