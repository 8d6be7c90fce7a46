"""Anchors of the region proposal network."""

from __future__ import annotations

import numpy as np
import paddle

from htc.config.schema import AnchorConfig


def base_anchors(
    stride: int, scale: float, ratios: tuple[float, ...], dtype="float32"
) -> np.ndarray:
    """The anchors of the cell at (0, 0), centred on it: [len(ratios), 4] xyxy.

    Each has the area (stride * scale)**2 and height / width = ratio. All steps are rounded to
    dtype, as in the reference.
    """
    stride, scale = np.asarray(stride, dtype), np.asarray(scale, dtype)
    height_ratios = np.sqrt(np.asarray(ratios, dtype))
    heights = stride * height_ratios * scale
    widths = stride * (1 / height_ratios) * scale
    return np.stack([-widths, -heights, widths, heights], axis=1) / 2


def grid_anchors(height, width, anchors: AnchorConfig, level: int, dtype="float32"):
    """The anchors of one level: [height * width * len(ratios), 4], in order of row, column, ratio.

    Cell (row, column) is centred on (column * stride, row * stride), no half-stride offset.
    height and width are ints or 0-D integer tensors; dtype is "float32" or "float64".
    """
    stride = anchors.strides[level]
    base = base_anchors(stride, anchors.scale, anchors.ratios, dtype)
    # The sum of numbers of dtype, rounded once: the same in float64, which oneDNN leaves alone. (It
    # is slow at this broadcast, and fails at it for a map of one cell.)
    rows = paddle.arange(height, dtype="float64").reshape([-1, 1, 1, 1]) * stride
    columns = paddle.arange(width, dtype="float64").reshape([1, -1, 1, 1]) * stride
    along_x = paddle.to_tensor([1, 0, 1, 0], dtype="float64")
    along_y = paddle.to_tensor([0, 1, 0, 1], dtype="float64")
    cells = rows * along_y + columns * along_x  # [height, width, 1, 4]
    return (cells + paddle.to_tensor(base, dtype="float64")).astype(dtype).reshape([-1, 4])
