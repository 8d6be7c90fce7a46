"""Boxes and deltas as a detector has them."""

import numpy as np


def boxes_and_deltas(count, per_box=1, dtype="float32", seed=0, size=(800, 1333)):
    """Return boxes [count, 4] inside a picture of `size`, and deltas [count, 4 * per_box]."""
    random = np.random.default_rng(seed)
    center = random.uniform(0, 1, (count, 2)) * (size[1], size[0])
    half = np.exp(random.uniform(np.log(4), np.log(200), (count, 2)))
    boxes = np.concatenate([center - half, center + half], axis=1)
    deltas = random.normal(0, 1, (count, 4 * per_box))
    return boxes.astype(dtype), deltas.astype(dtype)
