"""Ground truths as polygons, and their targets by the COCO API itself."""

import numpy as np

from cases.masks import positives


def star(box, points=40, seed=0):
    """Return x, y, x, y, ... of a star-like outline that about fills the box."""
    random = np.random.default_rng(seed)
    x1, y1, x2, y2 = (float(side) for side in box)
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = random.uniform(0.6, 1, points)
    x = (x1 + x2) / 2 + (x2 - x1) / 2 * radius * np.cos(angles)
    y = (y1 + y2) / 2 + (y2 - y1) / 2 * radius * np.sin(angles)
    return np.stack([x, y], axis=1).reshape(-1).tolist()


def positive_polygons(count, num_gts, size=(800, 1333), dtype="float32", points=40):
    """Return boxes [count, 4], polygons of num_gts objects, gt_index [count].

    Every third object has a second part, beside or across the first.
    """
    boxes, _, gt_index = positives(count, num_gts, size, dtype)
    polygons = []
    for gt in range(num_gts):
        around = boxes[gt_index == gt]
        box = around[0] if len(around) else np.float32([0, 0, 9, 9])
        parts = [star(box, points, gt)]
        if gt % 3 == 2:
            parts.append(star(box + np.float32([9, -4, 9, -4]), points, gt + 100))
        polygons.append(parts)
    return boxes, polygons, gt_index


def with_pycocotools(boxes, polygons, gt_index, size):
    """The targets of finite boxes, box by box: frPyObjects, merge, decode. float32 [R, S, S]."""
    from pycocotools import mask as coco  # not where the GPU benchmarks share this file

    height, width = size
    targets = np.zeros((len(boxes), height, width), "float32")
    for target, box, index in zip(targets, boxes, gt_index, strict=True):
        sides = np.maximum(box[2:] - box[:2], 1)
        scale = (np.array([width, height], boxes.dtype) / sides).astype("float64")
        parts = []
        for part in polygons[index]:
            points = (np.reshape(part, (-1, 2)) - box[:2].astype("float64")) * scale
            parts.append(points.reshape(-1).tolist())
        if parts:
            target[:] = coco.decode(coco.merge(coco.frPyObjects(parts, height, width)))
    return targets
