"""Detections with soft masks, and ground truths as bitmaps, as an instance segmenter has them."""

import numpy as np

from cases.roi_align import boxes_in_picture

# In a picture of 60 x 80 pixels: outside, partly outside, larger, thin, less than a pixel.
USUAL_BOXES = np.float32(
    [
        [10, 10, 40, 30],
        [0, 0, 80, 60],
        [3.3, 4.7, 5.1, 50.9],
        [20.25, 20.25, 20.5, 20.75],
        [20.4, 20.4, 20.5, 20.5],  # between the pixels' centres
        [-30, -20, 15, 25],
        [70, 50, 120, 110],
        [-500, -400, 600, 700],
        [-50, -50, -10, -10],
        [200, 200, 240, 250],
        [80, 10, 90, 30],  # beside the picture, half a cell of it within
        [79, 59, 80, 60],
        [-1e6, 10, 1e6, 20],
    ]
)
EMPTY_BOXES = np.float32(
    [
        [20, 20, 20, 20],
        [20, 10, 20, 30],
        [10, 20, 30, 20],
        [30, 30, 10, 10],
        [30, 10, 10, 30],
        [np.nan, 10, 20, 30],
        [10, 10, 20, np.nan],
        [np.nan] * 4,
        [-np.inf, 10, np.inf, 30],
        [10, 10, np.inf, 30],
        [np.inf, np.inf, np.inf, np.inf],
        [-np.inf] * 4,
    ]
)
HUGE_BOXES = np.float32(
    [[-1e30, 0, 1e30, 50], [1e30, 0, 2e30, 50], [-3e38, -3e38, 3e38, 3e38], [-1e9, -1e9, 70, 50]]
)


def soft_masks(count, size=(28, 28), dtype="float32", seed=0):
    """Return [count, *size] probabilities: blobs of one or two ellipses, soft at the rim."""
    random = np.random.default_rng(seed)
    y, x = ((np.arange(n) + 0.5) / n for n in size)
    masks = np.zeros((count, *size))
    for _ in range(2):
        center = random.uniform(0.35, 0.65, (count, 2, 1, 1))
        radius = random.uniform(0.15, 0.55, (count, 2, 1, 1))
        distance = np.hypot(
            (y[:, None] - center[:, 0]) / radius[:, 0], (x[None] - center[:, 1]) / radius[:, 1]
        )
        steep = random.uniform(5, 20, (count, 1, 1))
        masks = np.maximum(masks, 1 / (1 + np.exp(steep * (distance - 1))))
    return masks.astype(dtype)


def detections(count, size=(800, 1333), mask_size=(28, 28), dtype="float32", seed=0):
    """Return masks [count, *mask_size], boxes [count, 4] float32."""
    masks = soft_masks(count, mask_size, dtype, seed)
    return masks, boxes_in_picture(count, size, seed=seed)


def bitmaps(boxes, size=(800, 1333), seed=0):
    """Return uint8 [G, *size]: a blob in each box."""
    random = np.random.default_rng(seed)
    y, x = (np.arange(n) + 0.5 for n in size)
    result = np.zeros((len(boxes), *size), "uint8")
    for bitmap, (x1, y1, x2, y2) in zip(result, boxes.tolist(), strict=True):
        tilt = random.uniform(-0.5, 0.5)
        dx = (x[None] - (x1 + x2) / 2) / max(x2 - x1, 1e-3) * 2
        dy = (y[:, None] - (y1 + y2) / 2) / max(y2 - y1, 1e-3) * 2
        bitmap[:] = dx**2 + dy**2 + tilt * dx * dy < 1
    return result


def positives(count, num_gts, size=(800, 1333), dtype="float32", seed=0):
    """Return boxes [count, 4], bitmaps [num_gts, *size], gt_index [count]: boxes around objects."""
    random = np.random.default_rng(seed)
    largest = min(size) * 0.6
    gt_boxes = boxes_in_picture(num_gts, size, min(24, largest / 3), largest, seed)
    gt_index = random.integers(0, num_gts, count)
    boxes = gt_boxes[gt_index]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + sides * random.normal(0, 0.07, boxes.shape)
    boxes = np.clip(boxes, 0, [size[1], size[0], size[1], size[0]])
    return boxes.astype(dtype), bitmaps(gt_boxes, size, seed), gt_index
