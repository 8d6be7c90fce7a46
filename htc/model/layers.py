"""Convolutions and linear layers with the initial values that detectors use for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.base import framework
from paddle.nn.initializer import Constant, Normal, XavierUniform

import htc_ops
from htc.model.kernels import in_own_kernels
from htc.model.resizing import plain, upsample2x


def conv2d(
    in_channels,
    out_channels,
    kernel_size,
    stride=1,
    groups=1,
    bias=True,
    initializer=None,
    last=False,
) -> nn.Conv2D:
    """A convolution that keeps height and width at stride 1; He-initialised over its outputs.

    last: its results are answers of the network, or positions; not to be computed in bfloat16.
    """
    if initializer is None:
        initializer = he_normal(out_channels * kernel_size**2 // groups)
    layer = _Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        weight_attr=paddle.ParamAttr(initializer=initializer),
        bias_attr=_zero() if bias else False,
    )
    layer.may_round = groups == 1 and not last
    return layer


def linear(in_features, out_features, initializer=None, last=False) -> nn.Linear:
    """A fully connected layer, Glorot-initialised unless told otherwise; `last` as of conv2d."""
    initializer = initializer or XavierUniform()
    weight = paddle.ParamAttr(initializer=initializer)
    layer = _Linear(in_features, out_features, weight_attr=weight, bias_attr=_zero())
    layer.may_round = not last
    return layer


def deconv2x2(in_channels, out_channels) -> nn.Conv2DTranspose:
    """The 2x2 transposed convolution that doubles height and width."""
    weight = paddle.ParamAttr(initializer=he_normal(4 * in_channels))
    layer = _Conv2DTranspose(
        in_channels, out_channels, 2, stride=2, weight_attr=weight, bias_attr=_zero()
    )
    layer.may_round = True
    return layer


@contextmanager
def bfloat16_weights(model: nn.Layer) -> Iterator[None]:
    """Within it, a network's weights are bfloat16 wherever its operators may multiply that.

    For a program of htc_ops' operators: these multiply bfloat16 numbers where the weights are such.
    The eager network does not run within it.
    """
    layers = [layer for layer in model.sublayers() if getattr(layer, "may_round", False)]
    before = [layer.weight for layer in layers]
    try:
        for layer in layers:
            rounded = _to_bfloat16(layer.weight)
            layer.weight = framework.EagerParamBase.from_tensor(rounded, name=layer.weight.name)
        yield
    finally:
        for layer, weight in zip(layers, before, strict=True):
            layer.weight = weight


def _to_bfloat16(weight):
    """The nearest bfloat16 numbers, ties to even: on a CPU Paddle 2.6 would cut digits off."""
    values = weight.numpy().astype("float32", copy=False)
    words = values.view(np.uint32)
    nearest = (words + (0x7FFF + (words >> 16 & 1))) & np.uint32(0xFFFF0000)
    values = np.where(np.isfinite(values), nearest.view(np.float32), values)
    return paddle.to_tensor(values).astype("bfloat16")


class _Conv2D(nn.Conv2D):
    def forward(self, x, relu: bool | str = False, add=None):
        """x [B, C, H, W] -> [B, K, H', W'].

        Args:
            relu: whether negative results become 0: True: after the addition; "before_add".
            add: a map that is added to the result, of its size; or None.
        """
        if self.has_own():
            return self.own(x, self.bias, None, relu, add)
        if self.bias is None or not _adds_slowly(x):
            y = super().forward(x)
        else:
            y = F.conv2d(x, self.weight, None, self._stride, self._padding, groups=self._groups)
            y = y + self.bias.reshape([-1, 1, 1])
        return _finish(y, relu, add)

    def plus_upsampled(self, x, coarser):
        """forward(x) + each pixel of `coarser` [B, K, H' / 2, W' / 2] four times."""
        if self.has_own():
            return self.own(x, self.bias, None, False, coarser)
        return self(x) + upsample2x(coarser)

    def has_own(self) -> bool:
        """Whether this one is to be computed by an operator of htc_ops."""
        return in_own_kernels() and self._groups == 1

    def own(self, x, bias, scale, relu, add):
        """forward by htc_ops: the sums * scale + bias, + add; bias and scale [K] or None."""
        (stride, _), padding = self._stride, self._padding
        filters, channels, *kernel = self.weight.shape
        # With fewer channels transforming costs more than it saves.
        enough = min(filters, channels) >= 32
        if kernel == [3, 3] and stride == 1 and enough and relu != "before_add":
            return htc_ops.conv3x3(x, self.weight, bias, scale, add, relu)
        return htc_ops.conv2d(x, self.weight, bias, scale, add, stride, padding, relu)


def conv_norm(x, conv, norm, relu: bool = False, add=None):
    """A convolution, its batch norm, then `add`, then ReLU, the last two where asked for."""
    if isinstance(conv, _Conv2D) and conv.has_own():
        scale = norm.weight / paddle.sqrt(norm._variance + norm._epsilon)
        return conv.own(x, norm.bias - norm._mean * scale, scale, relu, add)
    return _finish(norm(conv(x)), relu, add)


def _finish(y, relu, add):
    y = F.relu(y) if relu == "before_add" else y
    y = y if add is None else y + add
    y = F.relu(y) if relu is True else y
    return plain(y) if in_own_kernels() else y


class _Linear(nn.Linear):
    def forward(self, x):
        if not in_own_kernels():
            return super().forward(x)
        # As a convolution: the weights' columns are the pixels, and each row of x a filter.
        columns = self.weight.reshape([1, self.weight.shape[0], 1, self.weight.shape[1]])
        y = htc_ops.conv2d(columns, x.reshape([-1, self.weight.shape[0], 1, 1]))
        return y.reshape([-1, self.weight.shape[1]]) + self.bias


class _Conv2DTranspose(nn.Conv2DTranspose):
    def forward(self, x):
        if not _adds_slowly(x):
            return super().forward(x)
        y = F.conv2d_transpose(x, self.weight, None, self._stride)
        return y + self.bias.reshape([-1, 1, 1])


def _adds_slowly(x) -> bool:
    """Whether Paddle would take three times as long to add [1, C, 1, 1] as to add [C, 1, 1].

    So it is on a CPU outside programs, forward and backward (3.3.1); the sums are the same.
    """
    return paddle.in_dynamic_mode() and x.place.is_cpu_place()


def start_small(layer: nn.Layer | None) -> None:
    """Draw the weights of a layer anew, so small that it says next to nothing before it learns."""
    if layer is not None:
        Normal(0.0, 0.01)(layer.weight)


def he_normal(fan: int) -> Normal:
    """He's normal distribution for a layer followed by ReLU."""
    return Normal(0.0, math.sqrt(2.0 / fan))


def _zero() -> paddle.ParamAttr:
    return paddle.ParamAttr(initializer=Constant(0.0))
