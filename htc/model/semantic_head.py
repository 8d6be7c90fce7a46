"""The semantic segmentation branch (HTC, section 3.2, "spatial contexts from segmentation")."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import paddle
from paddle import nn

from htc.config.schema import SemanticConfig
from htc.model.boxes import full_precision
from htc.model.layers import conv2d, start_small
from htc.model.losses import cross_entropy
from htc.model.resizing import add_resized, resize_like
from htc.model.targets import semantic_labels

LEVEL = 1  # P3: the level whose size all are brought to
STRIDE = 8


class Semantic(NamedTuple):
    """What the branch answers at stride 8.

    logits: [B, num_classes, H / 8, W / 8].
    embedding: [B, C, H / 8, W / 8], the feature that is fused; None where nothing uses it.
    """

    logits: paddle.Tensor
    embedding: paddle.Tensor | None


class SemanticHead(nn.Layer):
    """Fuses all pyramid levels at stride 8 into class logits and a feature for the other heads."""

    def __init__(self, num_levels: int, in_channels: int, config: SemanticConfig, num_classes: int):
        super().__init__()
        self.config = config
        channels = config.channels
        widths = [in_channels] + [channels] * config.num_convs
        self.lateral_convs = nn.LayerList(
            [conv2d(in_channels, in_channels, 1) for _ in range(num_levels)]
        )
        self.convs = nn.LayerList([conv2d(i, o, 3) for i, o in pairwise(widths)])
        # A layer that nothing reads would never get a gradient.
        self.embedding = conv2d(channels, channels, 1) if config.fusion else None
        self.logits = conv2d(channels, num_classes, 1, last=True)

    def start_small(self):
        """Begin with even classes and next to nothing in the fused feature."""
        start_small(self.logits)
        start_small(self.embedding)

    def forward(self, pyramid) -> Semantic:
        """Five maps [B, C, H / s, W / s] -> logits and embedding at stride 8."""
        fused = self.lateral_convs[LEVEL](pyramid[LEVEL], relu=True)
        for level, conv in enumerate(self.lateral_convs):
            if level == LEVEL:
                continue
            # Resizing and a 1x1 convolution can change places: each goes first where it is cheaper.
            if level < LEVEL:
                fused = conv(resize_like(pyramid[level], fused), relu="before_add", add=fused)
            else:
                fused = add_resized(fused, conv(pyramid[level]))
        for conv in self.convs:
            fused = conv(fused, relu=True)
        embedding = None if self.embedding is None else self.embedding(fused, relu=True)
        return Semantic(self.logits(fused), embedding)

    def losses(self, semantic: Semantic, ground_truth) -> dict:
        """Cross entropy averaged over all pixels, ignored ones and padding included as 0."""
        logits = full_precision(semantic.logits).transpose([0, 2, 3, 1])
        height, width = logits.shape[1:3]
        labels = semantic_labels(ground_truth, height, width, STRIDE, self.config.ignore_label)
        ignored = self.config.ignore_label
        num_classes = logits.shape[3]
        if int(paddle.where(labels == ignored, 0 * labels, labels).max()) >= num_classes:
            raise ValueError(
                f"semantic maps of pictures {[truth.picture_id for truth in ground_truth]}: "
                f"expected labels below {num_classes} (num_semantic_classes) or {ignored} (to "
                f"ignore), got {sorted(set(labels.flatten().tolist()))}"
            )
        loss = cross_entropy(logits, labels, ignore_index=ignored) / labels.size
        return {"loss_semantic": self.config.loss_weight * loss}
