"""The box head of a stage: two fully connected layers, then class logits and box deltas."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Normal

from htc.config.schema import BoxHeadConfig
from htc.model.boxes import full_precision
from htc.model.layers import linear


class BoxHead(nn.Layer):
    """Classifies RoIs and moves their boxes (FPN, arXiv 1612.03144, section 4.2)."""

    def __init__(self, in_channels: int, config: BoxHeadConfig, num_classes: int):
        super().__init__()
        boxes = 1 if config.class_agnostic else num_classes
        channels = config.channels
        self.fc1 = linear(in_channels * config.roi_size**2, channels)
        self.fc2 = linear(channels, channels)
        self.class_logits = linear(channels, num_classes + 1, Normal(0.0, 0.01), last=True)
        self.deltas = linear(channels, 4 * boxes, Normal(0.0, 0.001), last=True)

    def forward(self, roi_features):
        """RoI features [R, in_channels, S, S] -> class logits, deltas, both in float32 at least.

        Class logits are [R, num_classes + 1], background last. Deltas are [R, 4], or where they are
        not class-agnostic [R, 4 * num_classes].
        """
        x = F.relu(self.fc1(roi_features.flatten(1)))
        x = F.relu(self.fc2(x))
        return full_precision(self.class_logits(x)), full_precision(self.deltas(x))
