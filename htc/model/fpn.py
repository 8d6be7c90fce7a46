"""Feature pyramid network (T.-Y. Lin et al., arXiv 1612.03144)."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import XavierUniform

from htc.model.layers import conv2d


class FPN(nn.Layer):
    """P2 to P5 from the four stages of the backbone, and P6 as every second pixel of P5."""

    def __init__(self, in_channels: list[int], channels: int):
        super().__init__()
        self.lateral_convs = nn.LayerList(
            [conv2d(count, channels, 1, initializer=XavierUniform()) for count in in_channels]
        )
        self.output_convs = nn.LayerList(
            [conv2d(channels, channels, 3, initializer=XavierUniform()) for _ in in_channels]
        )

    def forward(self, stages):
        """Maps at strides 4, 8, 16, 32 -> [B, channels, H / s, W / s], s = 4, 8, 16, 32, 64."""
        merged = [self.lateral_convs[-1](stages[-1])]
        for level in range(len(stages) - 2, -1, -1):
            merged.insert(0, self.lateral_convs[level].plus_upsampled(stages[level], merged[0]))
        pyramid = [conv(merged[level]) for level, conv in enumerate(self.output_convs)]
        pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))
        return pyramid
