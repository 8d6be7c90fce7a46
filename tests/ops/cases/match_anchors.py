"""Anchors, proposals and ground truths as a detector has them."""

import numpy as np


def anchors(size=(800, 1333), strides=(4, 8, 16, 32, 64), scale=8, dtype="float32"):
    """Return the anchors of a feature pyramid [A, 4]: 267,069 for the picture of the benchmarks."""
    ratios = np.sqrt([0.5, 1.0, 2.0])
    levels = []
    for stride in strides:
        half = scale * stride / 2 * np.stack([1 / ratios, ratios], axis=1)  # [3, 2] (x, y)
        base = np.concatenate([-half, half], axis=1)
        y, x = (np.arange(-(-side // stride)) * stride for side in size)
        shift = np.stack([*np.meshgrid(x, y)] * 2, axis=-1)  # [H, W, 4]
        levels.append((shift[:, :, None] + base).reshape(-1, 4))
    return np.concatenate(levels).astype(dtype)


def boxes(count, size=(800, 1333), dtype="float32", seed=0):
    """Return boxes [count, 4] inside a picture, from 8 px to nearly all of it."""
    random = np.random.default_rng(seed)
    sides = np.exp(random.uniform(np.log(8), np.log(0.9 * min(size)), (count, 2)))
    low = random.uniform(0, 1, (count, 2)) * ((size[1], size[0]) - sides)
    return np.concatenate([low, low + sides], axis=1).astype(dtype)


def proposals(count, gt_boxes, seed=0):
    """Return boxes [count, 4] of which half lie around ground truths."""
    random = np.random.default_rng(seed)
    result = boxes(count, seed=seed + 1, dtype=gt_boxes.dtype)
    if len(gt_boxes):
        near = gt_boxes[random.integers(0, len(gt_boxes), count // 2)]
        side = np.tile(near[:, 2:] - near[:, :2], 2)
        result[: count // 2] = near + random.normal(0, 0.15, near.shape) * side
    return result


def on_a_grid(count, cells=8, dtype="float32", seed=0):
    """Return boxes [count, 4] with corners on a few whole numbers, so that IoUs tie everywhere."""
    random = np.random.default_rng(seed)
    low, high = np.sort(random.integers(0, cells + 1, (2, count, 2)), axis=0)
    return np.concatenate([low, high], axis=1).astype(dtype)


def odd_boxes(dtype="float32"):
    """Return boxes that a matcher must survive: empty, inverted, far out, huge, not finite."""
    nan, infinity, largest = np.nan, np.inf, np.finfo(dtype).max
    return np.array(
        [
            [3, 3, 3, 3],
            [2, 2, 2, 6],
            [6, 6, 2, 2],
            [6, 2, 2, 6],
            [-900, -900, -800, -800],
            [1e30, 1e30, 1e30, 1e30],
            [-1e30, -1e30, 1e30, 1e30],
            [-largest, -largest, largest, largest],
            [-1e17, -1e17, 1e17, 1e17],
            [0, 0, 1e-20, 1e-20],
            [0, 0, 1e-3, 1e-3],
            [nan, 0, 4, 4],
            [0, 0, 4, nan],
            [nan, nan, nan, nan],
            [-infinity, 0, 4, 4],
            [0, 0, infinity, 4],
            [-infinity, -infinity, infinity, infinity],
            [infinity, infinity, -infinity, -infinity],
            [0, -0.0, 4, 4],
        ],
        dtype,
    )
