"""The mask head of a stage, with mask information flow (HTC, section 3.1)."""

from __future__ import annotations

from itertools import pairwise

import paddle.nn.functional as F
from paddle import nn

import htc_ops
from htc.config.schema import MaskHeadConfig
from htc.model.boxes import full_precision
from htc.model.kernels import in_own_kernels
from htc.model.layers import conv2d, deconv2x2, start_small
from htc.model.losses import select_class


class MaskHead(nn.Layer):
    """Four 3x3 convolutions, a 2x2 deconvolution and a 1x1 convolution to one map a class.

    With `flow`, the features of the previous stage's head are added to its input, through a 1x1
    convolution.
    """

    def __init__(self, in_channels: int, config: MaskHeadConfig, num_classes: int, flow: bool):
        super().__init__()
        channels = config.channels
        widths = [in_channels] + [channels] * config.num_convs
        self.flow = conv2d(channels, in_channels, 1) if flow else None
        self.convs = nn.LayerList([conv2d(i, o, 3) for i, o in pairwise(widths)])
        self.upsample = deconv2x2(channels, channels)
        self.logits = conv2d(channels, num_classes, 1, last=True)

    def start_small(self):
        """Begin with even masks, and without what flows from the head before."""
        start_small(self.logits)
        start_small(self.flow)

    def features(self, roi_features, previous=None):
        """RoI features [R, C, 14, 14] -> [R, channels, 14, 14].

        previous: the features of the head before; not looked at without flow.
        """
        x = roi_features
        if self.flow is not None:
            x = self.flow(previous, relu="before_add", add=x)
        for conv in self.convs:
            x = conv(x, relu=True)
        return x

    def forward(self, features):
        """features() -> mask logits [R, num_classes, 28, 28] in float32 at least."""
        return full_precision(self.logits(F.relu(self.upsample(features))))

    def class_logits(self, features, labels):
        """features(), labels [R] int64 -> logits of each RoI's own class alone, [R, 28, 28]."""
        if in_own_kernels():
            up, last = self.upsample, self.logits
            return htc_ops.mask_logits(features, up.weight, up.bias, last.weight, last.bias, labels)
        return select_class(self(features), labels)
