"""What the mask targets are, in NumPy. Slow, and meant to be read.

RoIAlign with spatial scale 1, aligned, adaptive sampling: the mean of bilinear samples on a grid.
Rows and columns do not mix there, so a bin is rows' weights x bitmap x columns' weights.
Coordinates are in the dtype of the boxes, sums in float64.
"""

import math

import numpy as np


def mask_target_values(boxes, gt_masks, gt_index, size):
    """boxes [R, 4], gt_masks [G, H, W], gt_index [R] -> float64 [R, S, S]."""
    values = np.zeros((len(boxes), *size))
    for r, (box, index) in enumerate(zip(boxes, gt_index, strict=True)):
        if np.isfinite(box).all():
            rows = _weights(box[1], box[3], size[0], gt_masks.shape[1])
            columns = _weights(box[0], box[2], size[1], gt_masks.shape[2])
            values[r] = rows @ (gt_masks[index] != 0) @ columns.T
    return values


def mask_targets(boxes, gt_masks, gt_index, size, threshold=0.5):
    """As mask_target_values -> float32 [R, S, S] of 0 and 1."""
    return (mask_target_values(boxes, gt_masks, gt_index, size) >= threshold).astype("float32")


def _weights(low, high, bins, pixels):
    """What each of the pixels counts in each of the bins, [bins, pixels]."""
    real = low.dtype.type
    weights = np.zeros((bins, pixels))
    start = low - real(0.5)
    length = (high - real(0.5) - start) / real(bins)
    grid = math.ceil(length)
    for index in range(bins):
        for sample in range(grid):
            at = start + length * (real(index) + (real(sample) + real(0.5)) / real(grid))
            if not -1 <= at <= pixels or pixels == 0:
                continue
            at = min(max(at, 0), pixels - 1)
            pixel = min(int(at), max(pixels - 2, 0))
            weights[index, pixel] += (pixel + 1 - at) / grid
            if pixels > 1:
                weights[index, pixel + 1] += (at - pixel) / grid
    return weights
