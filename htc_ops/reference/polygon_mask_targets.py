"""What the polygon mask targets are, in NumPy. Slow, and meant to be read.

The corner and the scale of a box are in the dtype of the boxes, points in float64. A part is filled
as the COCO API does (maskApi.c, rleFrPoly): its outline is walked step by step on a grid of five
steps a pixel, and a pixel is inside where the outline was crossed an odd number of times before it,
pixels taken column by column.
"""

import numpy as np

STEPS = 5  # of the grid, a pixel


def polygon_mask_targets(boxes, polygons, gt_index, size):
    """boxes [R, 4], polygons: of each ground truth its parts, gt_index [R] -> float32 [R, S, S]."""
    targets = np.zeros((len(boxes), *size), "float32")
    for target, box, index in zip(targets, boxes, gt_index, strict=True):
        if not np.isfinite(box).all():
            continue
        sides = np.maximum(box[2:] - box[:2], 1)
        scale = (np.array(size[::-1], boxes.dtype) / sides).astype("float64")
        for part in polygons[index]:
            points = (np.reshape(part, (-1, 2)) - box[:2].astype("float64")) * scale
            if np.isfinite(points).all():
                target[_filled(points, *size)] = 1
    return targets


def _filled(points, height, width):
    """bool [height, width]: the pixels inside the outline through points [P, 2]."""
    grid = np.trunc(STEPS * points + 0.5).astype("int64")
    crossed = np.zeros(width * height + 1, "int64")
    for start, end in zip(grid, np.roll(grid, -1, axis=0), strict=True):
        x, y = _walk(start, end)
        left, upper = np.minimum(x[1:], x[:-1]), np.minimum(y[1:], y[:-1])
        # From the left of the middle of a pixel column to its right, or back.
        middle = (x[1:] != x[:-1]) & (left % STEPS == STEPS // 2)
        column = left // STEPS
        for step in np.flatnonzero(middle & (column >= 0) & (column < width)):
            row = np.ceil(np.clip((upper[step] + 0.5) / STEPS - 0.5, 0, height))
            crossed[column[step] * height + int(row)] += 1
    return (np.cumsum(crossed[:-1]) % 2 == 1).reshape(width, height).T


def _walk(start, end):
    """The grid points of an edge: one a step along its longer axis, x and y apart."""
    longer = int(abs(end[0] - start[0]) < abs(end[1] - start[1]))
    if start[longer] > end[longer]:
        start, end = end, start
    steps = np.arange(end[longer] - start[longer] + 1)
    slope = (end[1 - longer] - start[1 - longer]) / max(len(steps) - 1, 1)
    along = start[longer] + steps
    beside = np.trunc(start[1 - longer] + slope * steps + 0.5).astype("int64")
    return (beside, along) if longer else (along, beside)
