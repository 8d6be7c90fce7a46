"""Boxes and scores as the steps of a detector hand them to NMS."""

import numpy as np


def proposals(count, dtype="float32", seed=0, size=(800, 1333), objects=None):
    """Boxes [count, 4] in clusters around `objects` things of a picture, distinct scores [count].

    Two thirds of the boxes lie around the things, the rest anywhere.
    """
    random = np.random.default_rng(seed)
    objects = max(1, count // 25) if objects is None else objects
    center = random.uniform(0, 1, (objects, 2)) * (size[1], size[0])
    side = np.exp(random.uniform(np.log(12), np.log(300), (objects, 2)))
    thing = random.integers(0, objects, count)
    center = center[thing] + random.normal(0, 0.12, (count, 2)) * side[thing]
    side = side[thing] * np.exp(random.normal(0, 0.15, (count, 2)))
    loose = random.uniform(0, 1, count) < 1 / 3
    center[loose] = random.uniform(0, 1, (loose.sum(), 2)) * (size[1], size[0])
    boxes = np.concatenate([center - side / 2, center + side / 2], axis=1)
    boxes = np.clip(boxes, 0, (size[1], size[0]) * 2)
    scores = random.permutation(count) / max(count, 1) + 0.5 / max(count, 1)
    return boxes.astype(dtype), scores.astype(dtype)


def detections(count, classes, dtype="float32", seed=0):
    """`proposals` and class ids [count], int64 in 0..classes - 1."""
    boxes, scores = proposals(count, dtype, seed)
    class_ids = np.random.default_rng(seed + 1).integers(0, classes, count)
    return boxes, scores, class_ids


def pyramid_proposals(dtype="float32", seed=0, size=(800, 1333)):
    """What the RPN hands over for a picture at test time: 1000 boxes of P2 to P5, 819 of P6.

    Boxes [4819, 4], scores [4819], levels [4819] int64.
    """
    parts = []
    for level, count in enumerate((1000, 1000, 1000, 1000, 819)):
        random = np.random.default_rng(seed + level)
        objects = 150
        center = random.uniform(0, 1, (objects, 2)) * (size[1], size[0])
        thing = random.integers(0, objects, count)
        anchor = 32 * 2**level
        center = center[thing] + random.normal(0, 0.2, (count, 2)) * anchor
        side = anchor * np.exp(random.normal(0, 0.3, (count, 2)))
        boxes = np.concatenate([center - side / 2, center + side / 2], axis=1)
        boxes = np.clip(boxes, 0, (size[1], size[0]) * 2)
        parts.append((boxes, random.uniform(0, 1, count), np.full(count, level)))
    boxes, scores, levels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return boxes.astype(dtype), scores.astype(dtype), levels.astype("int64")


def odd_boxes(dtype="float32"):
    """Boxes of every strange kind, each twice: the second would be suppressed if it could be."""
    big = float(np.finfo(dtype).max)
    nan, inf = np.nan, np.inf
    kinds = [
        [10, 10, 50, 50],  # ordinary
        [20, 20, 20, 40],  # no width
        [20, 20, 40, 20],  # no height
        [30, 30, 30, 30],  # a point
        [50, 50, 10, 10],  # inverted both ways: its area is positive
        [50, 10, 10, 50],  # inverted
        [nan, 10, 50, 50],
        [10, 10, 50, nan],
        [nan, nan, nan, nan],
        [-inf, 10, 50, 50],
        [10, 10, inf, inf],
        [-inf, -inf, inf, inf],
        [0, 0, 1e30, 1],  # huge, its area is not
        [0, 0, 1e30, 1e30],  # its area overflows float32
        [-big, -big, big, big],  # its sides overflow
        [0, -big, 1e-3, big],  # one side overflows
        [1e-20, 1e-20, 3e-20, 3e-20],  # its area underflows float32
        [1e-4, 1e-4, 2e-4, 2e-4],  # its area is below the smallest union
        [-900, -800, -850, -700],  # out of every picture
    ]
    return np.repeat(np.array(kinds, "float64"), 2, axis=0).astype(dtype)


def grid_boxes(count, dtype="float32", step=10):
    """`count` squares side by side, none overlapping another, and falling scores."""
    columns = int(np.ceil(np.sqrt(count)))
    index = np.arange(count)
    corner = np.stack([index % columns, index // columns], axis=1) * float(step)
    boxes = np.concatenate([corner, corner + step - 1], axis=1)
    return boxes.astype(dtype), (1 - index / max(count, 1)).astype(dtype)
