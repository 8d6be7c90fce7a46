"""What conv2d, conv3x3 and mask_logits compute, in NumPy and float64."""

import numpy as np


def conv2d(x, weight, bias=None, scale=None, add=None, stride=1, padding=0, relu=False):
    """x [B, C, H, W], weight [K, C, h, w] -> [B, K, H', W']; the rest as htc_ops.conv2d."""
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x.astype("float64"), border)
    kernel = weight.shape[2:]
    height, width = (
        (size - length) // stride + 1 for size, length in zip(padded.shape[2:], kernel, strict=True)
    )
    result = np.zeros((len(x), len(weight), height, width))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            window = padded[:, :, i::stride, j::stride][:, :, :height, :width]
            result += np.einsum("bchw,kc->bkhw", window, weight[:, :, i, j].astype("float64"))
    if scale is not None:
        result *= scale.reshape(-1, 1, 1)
    if bias is not None:
        result += bias.reshape(-1, 1, 1)
    if relu == "before_add":
        result = np.maximum(result, 0)
    if add is not None:
        times = height // add.shape[2]
        result += add.repeat(times, axis=2).repeat(times, axis=3)
    return np.maximum(result, 0) if relu is True else result


def mask_logits(features, upsample_weight, upsample_bias, weight, bias, labels):
    """features [R, C, H, W], labels [R], the rest as htc_ops.mask_logits -> [R, 2 H, 2 W]."""
    rois, _, height, width = features.shape
    hidden = np.einsum(
        "rchw,cdij->rdhiwj", features.astype("float64"), upsample_weight.astype("float64")
    ).reshape(rois, -1, 2 * height, 2 * width)
    hidden = np.maximum(hidden + upsample_bias.reshape(-1, 1, 1), 0)
    own = weight[labels, :, 0, 0].astype("float64")
    return np.einsum("rdhw,rd->rhw", hidden, own) + bias[labels].reshape(-1, 1, 1)
