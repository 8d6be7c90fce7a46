"""Anchors of the region proposal network."""

from __future__ import annotations

import numpy as np
import paddle


def base_anchors(stride: int, scale: float, ratios: tuple[float, ...]) -> np.ndarray:
    """The anchors of the cell at (0, 0), centred on it: [len(ratios), 4] float32 xyxy.

    Each has the area (stride * scale)**2 and height / width = ratio. In float32 throughout, as the
    reference makes them.
    """
    height_ratios = np.sqrt(np.asarray(ratios, np.float32))
    heights = np.float32(stride) * height_ratios * np.float32(scale)
    widths = np.float32(stride) * (1 / height_ratios) * np.float32(scale)
    return np.stack([-widths, -heights, widths, heights], axis=1) / np.float32(2)


def grid_anchors(height, width, stride: int, base: np.ndarray, dtype="float32"):
    """The anchors of one level: [height * width * len(base), 4], in order of row, column, ratio.

    Cell (row, column) is centred on (column * stride, row * stride), no half-stride offset.
    height and width are ints or 0-D integer tensors.
    """
    rows = paddle.arange(height, dtype=dtype).reshape([-1, 1, 1, 1]) * stride
    columns = paddle.arange(width, dtype=dtype).reshape([1, -1, 1, 1]) * stride
    along_x = paddle.to_tensor([1, 0, 1, 0], dtype=dtype)
    along_y = paddle.to_tensor([0, 1, 0, 1], dtype=dtype)
    cells = rows * along_y + columns * along_x  # [height, width, 1, 4]
    return (cells + paddle.to_tensor(base, dtype=dtype)).reshape([-1, 4])
