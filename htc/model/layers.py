"""Convolutions and linear layers with the initial values that detectors use for them."""

from __future__ import annotations

import math
from contextlib import contextmanager

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Constant, Normal, XavierUniform

import htc_ops
from htc.model.resizing import plain


def conv2d(
    in_channels, out_channels, kernel_size, stride=1, groups=1, bias=True, initializer=None
) -> nn.Conv2D:
    """A convolution that keeps height and width at stride 1; He-initialised over its outputs."""
    if initializer is None:
        initializer = he_normal(out_channels * kernel_size**2 // groups)
    return _Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        weight_attr=paddle.ParamAttr(initializer=initializer),
        bias_attr=_zero() if bias else False,
    )


def linear(in_features, out_features, initializer=None) -> nn.Linear:
    """A fully connected layer, Glorot-initialised unless told otherwise."""
    initializer = initializer or XavierUniform()
    weight = paddle.ParamAttr(initializer=initializer)
    return nn.Linear(in_features, out_features, weight_attr=weight, bias_attr=_zero())


def deconv2x2(in_channels, out_channels) -> nn.Conv2DTranspose:
    """The 2x2 transposed convolution that doubles height and width."""
    weight = paddle.ParamAttr(initializer=he_normal(4 * in_channels))
    return _Conv2DTranspose(
        in_channels, out_channels, 2, stride=2, weight_attr=weight, bias_attr=_zero()
    )


class _Conv2D(nn.Conv2D):
    def forward(self, x, relu: bool = False):
        """relu: whether negative results become 0."""
        if _by_winograd and self._is_3x3():
            return htc_ops.conv3x3(plain(x), self.weight, self.bias, relu)
        if self.bias is None or not _adds_slowly(x):
            y = super().forward(x)
        else:
            y = F.conv2d(x, self.weight, None, self._stride, self._padding, groups=self._groups)
            y = y + self.bias.reshape([-1, 1, 1])
        return F.relu(y) if relu else y

    def _is_3x3(self) -> bool:
        if self.bias is None:  # a batch norm follows, which oneDNN takes into its convolution
            return False
        shape = self.weight.shape
        enough = min(shape[0], shape[1]) >= 32  # below, transforming costs more than it saves
        return list(shape[2:]) == [3, 3] and self._stride == [1, 1] and self._groups == 1 and enough


_by_winograd = False


@contextmanager
def winograd():
    """Within it, 3x3 convolutions of stride 1 are htc_ops.conv3x3: CPU, float32, no gradient."""
    global _by_winograd
    before, _by_winograd = _by_winograd, True
    try:
        yield
    finally:
        _by_winograd = before


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
