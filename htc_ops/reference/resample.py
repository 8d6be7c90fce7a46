"""What max_pool_half and resize_like compute, in NumPy."""

import numpy as np


def max_pool_half(x):
    """x [B, C, H, W] -> [B, C, (H + 1) // 2, (W + 1) // 2]."""
    height, width = x.shape[2:]
    border = ((0, 0), (0, 0), (1, 1), (1, 1))
    padded = np.pad(x, border, constant_values=-np.inf)
    windows = [
        padded[:, :, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)
    ]
    return np.max(windows, axis=0)


def resize_like(x, like, relu=False, add=False):
    """x [B, C, h, w], like [B, C, H, W] -> float64 [B, C, H, W]."""
    result = x.astype("float64")
    for axis in (2, 3):
        count, new_count = x.shape[axis], like.shape[axis]
        places = np.arange(new_count) * ((count - 1) / max(new_count - 1, 1))
        first = np.minimum(places.astype("int64"), count - 1)
        share = (places - first).reshape([-1 if a == axis else 1 for a in range(4)])
        second = np.minimum(first + 1, count - 1)
        result = result.take(first, axis) * (1 - share) + result.take(second, axis) * share
    if relu:
        result = np.maximum(result, 0)
    return result + like if add else result
