"""Feature maps made larger and smaller, in a form that exported programs run fast and rightly.

Eager networks use Paddle's own layers. Programs cannot, on the CPU: Paddle Inference 3 gives
interpolation to oneDNN and then stops with "ConvertPirAttribute2RuntimeAttribute not support", and
Paddle's own interpolation runs on one thread there. So in a program the same sums are written as a
deconvolution and as matrix products.
"""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F

import htc_ops
from htc.model.boxes import dim
from htc.model.kernels import in_own_kernels
from htc_ops._library import is_plain


def plain(x):
    """x; in a program, where x may be in another layout, a copy in the plain NCHW one.

    Paddle Inference hands oneDNN's layouts on to operators that do not know them, its own matrix
    product among them; they would read shuffled numbers. assign is what it converts for.
    """
    return x if paddle.in_dynamic_mode() or is_plain(x) else paddle.assign(x)


def upsample2x(x):
    """Each pixel four times (nearest neighbour): [B, C, H, W] -> [B, C, 2 H, 2 W]."""
    if paddle.in_dynamic_mode():
        return F.interpolate(x, scale_factor=2, mode="nearest")
    # A deconvolution of ones stays in oneDNN's layout, and moves one number to four places exactly.
    # Groups of 8 channels, that layout's unit: oneDNN has no fast kernel for a channel alone.
    channels = x.shape[1]
    group = 8 if channels % 8 == 0 else channels
    weight = np.zeros((channels, group, 2, 2), "float32")
    weight[np.arange(channels), np.arange(channels) % group] = 1
    return F.conv2d_transpose(x, paddle.to_tensor(weight), stride=2, groups=channels // group)


def max_pool_half(x):
    """The largest of each 3x3 window, stride 2: [B, C, H, W] -> [B, C, (H + 1) / 2, (W + 1) / 2]."""
    if in_own_kernels():
        return htc_ops.max_pool_half(x)
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def resize_like(x, like):
    """Bilinear, corner pixels on corner pixels: x [B, C, h, w], like [B, C, H, W] -> like's size."""
    if in_own_kernels():
        return htc_ops.resize_like(x, like)
    size = [dim(like, 2), dim(like, 3)]
    if paddle.in_dynamic_mode():
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    rows = _weights(dim(x, 2), size[0])
    columns = _weights(dim(x, 3), size[1])
    return paddle.matmul(rows, paddle.matmul(plain(x), columns, transpose_y=True))


def add_resized(like, x):
    """like + F.relu(resize_like(x, like))."""
    if in_own_kernels():
        return htc_ops.resize_like(x, like, relu=True, add=True)
    return like + F.relu(resize_like(x, like))


def _weights(count, new_count):
    """What each of `count` pixels adds to each new one: [new_count, count], two a row at most."""
    step = (count - 1).astype("float32") / paddle.clip(new_count - 1, min=1).astype("float32")
    places = paddle.arange(new_count, dtype="int64").astype("float32") * step
    pixels = paddle.arange(count, dtype="int64").astype("float32")
    return F.relu(1 - paddle.abs(places.unsqueeze(1) - pixels.unsqueeze(0)))
