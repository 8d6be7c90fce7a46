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

from htc.model.boxes import dim


def plain(x):
    """x; in a program a copy of x in the plain NCHW layout, which everything can read.

    Paddle Inference hands oneDNN's layouts on to operators that do not know them, its own matrix
    product among them; they would read shuffled numbers. assign is what it converts for.
    """
    return x if paddle.in_dynamic_mode() else paddle.assign(x)


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


def resize(x, size):
    """Bilinear, corner pixels on corner pixels: [B, C, h, w] -> [B, C, *size].

    size: two ints; in a program 0-D int64 tensors.
    """
    if paddle.in_dynamic_mode():
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    rows = _weights(dim(x, 2), size[0])
    columns = _weights(dim(x, 3), size[1])
    return paddle.matmul(rows, paddle.matmul(plain(x), columns, transpose_y=True))


def _weights(count, new_count):
    """What each of `count` pixels adds to each new one: [new_count, count], two a row at most."""
    step = (count - 1).astype("float32") / paddle.clip(new_count - 1, min=1).astype("float32")
    places = paddle.arange(new_count, dtype="int64").astype("float32") * step
    pixels = paddle.arange(count, dtype="int64").astype("float32")
    return F.relu(1 - paddle.abs(places.unsqueeze(1) - pixels.unsqueeze(0)))
