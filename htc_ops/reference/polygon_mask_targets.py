"""What the polygon mask targets are, in NumPy and pycocotools. Slow, and meant to be read."""

import numpy as np
from pycocotools import mask as coco


def polygon_mask_targets(boxes, polygons, gt_index, size):
    """boxes [R, 4], polygons: of each ground truth its parts, gt_index [R] -> float32 [R, S, S]."""
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
