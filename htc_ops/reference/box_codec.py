"""What the box codec computes, in NumPy. Slow, and meant to be read."""

import numpy as np


def decode_boxes(boxes, deltas, means, stds, image_sizes=None, boxes_num=None, max_ratio=1000 / 16):
    """boxes [R, 4], deltas [R, 4 * K], image_sizes [B, 2] (height, width), boxes_num [B]."""
    dtype = boxes.dtype
    delta = deltas.reshape(len(boxes), deltas.shape[1] // 4, 4)
    delta = delta * np.asarray(stds, dtype) + np.asarray(means, dtype)  # [R, K, 4]
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]  # [R, 1, 2]
    center = ((boxes[:, :2] + boxes[:, 2:]) * dtype.type(0.5))[:, None]
    limit = dtype.type(np.log(max_ratio))
    center = center + size * delta[..., :2]
    half = size * np.exp(np.clip(delta[..., 2:], -limit, limit)) * dtype.type(0.5)
    decoded = np.concatenate([center - half, center + half], axis=-1)  # [R, K, 4]
    if image_sizes is not None:
        limits = np.repeat(image_sizes[:, [1, 0, 1, 0]], boxes_num, axis=0)[:, None]
        decoded = np.minimum(np.maximum(decoded, 0), limits)
    return decoded.reshape(deltas.shape)


def encode_boxes(boxes, targets, means, stds):
    """boxes, targets [R, 4] -> deltas [R, 4]."""
    dtype = boxes.dtype
    size = boxes[:, 2:] - boxes[:, :2]
    shift = (targets[:, :2] + targets[:, 2:]) * dtype.type(0.5) - (
        boxes[:, :2] + boxes[:, 2:]
    ) * dtype.type(0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.log((targets[:, 2:] - targets[:, :2]) / size)
        delta = np.concatenate([shift / size, growth], axis=1)
    return (delta - np.asarray(means, dtype)) / np.asarray(stds, dtype)
