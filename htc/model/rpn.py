"""Region proposal network (S. Ren et al., arXiv 1506.01497) on a feature pyramid."""

from __future__ import annotations

from typing import NamedTuple

import paddle
from paddle import nn
from paddle.nn.initializer import Normal

import htc_ops
from htc.config.schema import AnchorConfig, RPNConfig
from htc.model.anchors import grid_anchors
from htc.model.boxes import (
    SPARE_SCORE,
    RoIs,
    dim,
    full_precision,
    nms_per_picture,
    row_count,
    top_k_indices,
)
from htc.model.kernels import in_own_kernels
from htc.model.layers import conv2d
from htc.model.losses import sigmoid_cross_entropy, smooth_l1, zero_loss
from htc.model.targets import Choose, GroundTruth, ignored_regions, sample


class Level(NamedTuple):
    """One level of the pyramid, its anchors in order of row, column, ratio.

    logits: [B, A], deltas: [B, A, 4], anchors: [A, 4], all in float32 at least.
    """

    logits: paddle.Tensor
    deltas: paddle.Tensor
    anchors: paddle.Tensor


class RPN(nn.Layer):
    """Scores anchors, moves them, and keeps the best as proposals."""

    def __init__(self, in_channels: int, config: RPNConfig, anchors: AnchorConfig, choose: Choose):
        super().__init__()
        self.config, self.choose = config, choose
        self.anchors = anchors
        num_ratios = len(anchors.ratios)
        initializer = Normal(0.0, 0.01)
        self.conv = conv2d(in_channels, config.channels, 3, initializer=initializer)
        self.objectness = conv2d(config.channels, num_ratios, 1, initializer=initializer, last=True)
        self.deltas = conv2d(config.channels, 4 * num_ratios, 1, initializer=initializer, last=True)

    def forward(self, pyramid) -> list[Level]:
        """Five maps [B, C, H / s, W / s] -> a Level of each."""
        levels = []
        for index, x in enumerate(pyramid):
            logits, deltas = self.predict(self.conv(x, relu=True))
            logits, deltas = _rows(logits, 1).squeeze(-1), _rows(deltas, 4)
            dtype = "float64" if logits.dtype == paddle.float64 else "float32"
            anchors = grid_anchors(dim(x, 2), dim(x, 3), self.anchors, index, dtype)
            levels.append(Level(logits, deltas, anchors))
        return levels

    def predict(self, hidden):
        """[B, C, H, W] -> logits [B, A, H, W], deltas [B, 4 * A, H, W] of A anchors a pixel."""
        parts = [self.objectness, self.deltas]
        if not in_own_kernels():
            return [part(hidden) for part in parts]
        # Both at once: reading a large map takes longer than multiplying it by so few filters.
        weight = paddle.concat([part.weight for part in parts])
        bias = paddle.concat([part.bias for part in parts])
        both = htc_ops.conv2d(hidden, weight, bias)
        count = self.objectness.weight.shape[0]
        return both[:, :count], both[:, count:]

    @paddle.no_grad()
    def proposals(self, levels: list[Level], image_sizes, training: bool) -> RoIs:
        """The best boxes of each picture by falling score, and the spare row (see htc.model.boxes).

        Ranked by logit, which orders as the probability does, but still where that rounds to 1.

        Args:
            image_sizes: [B, 2] (height, width) un-padded; boxes are clipped to them.
            training: training has larger budgets than inference.
        """
        config = self.config
        pre_nms = config.train_pre_nms if training else config.test_pre_nms
        post_nms = config.train_post_nms if training else config.test_post_nms
        scores, boxes, classes = [], [], []
        batch = row_count(image_sizes)
        for index, level in enumerate(levels):
            best = top_k_indices(level.logits, pre_nms)  # [B, K]
            first = paddle.arange(batch, dtype="int64") * row_count(level.anchors)
            rows = (best + first.unsqueeze(1)).flatten()
            scores.append(paddle.take_along_axis(level.logits, best, axis=1))
            decoded = htc_ops.decode_boxes(
                paddle.gather(level.anchors, best.flatten()),
                paddle.gather(level.deltas.reshape([-1, 4]), rows),
                image_size=image_sizes,
                boxes_num=paddle.ones_like(best).sum(axis=1),
            )
            boxes.append(decoded.reshape([batch, -1, 4]))
            classes.append(paddle.full_like(best, index))
        scores = paddle.concat(scores, axis=1)  # [B, K of all levels]
        boxes = paddle.concat(boxes, axis=1).reshape([-1, 4])
        pictures = paddle.arange(batch, dtype="int64").unsqueeze(1).expand_as(scores)
        # Ranked below all others, a box that is too small suppresses none and displaces none.
        sides = boxes[:, 2:] - boxes[:, :2]
        large = (sides > config.min_box_size).all(axis=1)
        lowest = paddle.full_like(scores.flatten(), SPARE_SCORE)
        ranked = nms_per_picture(
            boxes,
            paddle.where(large, scores.flatten(), lowest),
            paddle.concat(classes, axis=1).flatten(),
            pictures.flatten(),
            batch,
            len(levels),
            config.nms_iou,
            post_nms,
        )
        return RoIs(ranked.boxes, ranked.boxes_num)

    def losses(self, levels: list[Level], image_sizes, ground_truth) -> dict:
        """Sigmoid cross entropy and SmoothL1 over the sampled anchors of the batch."""
        logits = paddle.concat([level.logits for level in levels], axis=1)  # [B, A]
        deltas = paddle.concat([level.deltas for level in levels], axis=1)  # [B, A, 4]
        anchors = paddle.concat([level.anchors for level in levels])  # [A, 4]
        class_loss = zero_loss(logits)
        delta_loss = zero_loss(deltas)
        num_sampled = 0
        for index, (size, truth) in enumerate(zip(image_sizes.tolist(), ground_truth, strict=True)):
            positive, negative, targets = self.sample_anchors(anchors, size, truth)
            num_sampled += max(positive.shape[0] + negative.shape[0], 1)
            if negative.shape[0]:
                chosen = paddle.gather(logits[index], negative)
                class_loss += sigmoid_cross_entropy(chosen, paddle.zeros_like(chosen))
            if positive.shape[0]:
                chosen = paddle.gather(logits[index], positive)
                class_loss += sigmoid_cross_entropy(chosen, paddle.ones_like(chosen))
                chosen = paddle.gather(deltas[index], positive)
                delta_loss += smooth_l1(chosen, targets, self.config.smooth_l1_beta)
        return {
            "loss_rpn_cls": class_loss / num_sampled,
            "loss_rpn_reg": delta_loss / num_sampled,
        }

    @paddle.no_grad()
    def sample_anchors(self, anchors, image_size, truth: GroundTruth):
        """Anchors [A, 4] of all levels, (height, width) and annotations of one picture.

        Returns:
            (positive [P], negative [N]: int64 indices into anchors; targets [P, 4]: deltas).
            Only anchors inside the un-padded picture take part.
        """
        height, width = image_size
        x1, y1, x2, y2 = anchors.unbind(axis=1)
        inside = (x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height)
        if not self.config.inside_only:
            inside = paddle.ones_like(inside)
        inside = paddle.nonzero(inside).flatten()
        if inside.shape[0] == 0:
            return inside, inside, paddle.zeros([0, 4], dtype=anchors.dtype)
        anchors = paddle.gather(anchors, inside)
        gt_boxes = truth.boxes.astype(anchors.dtype)
        config = self.config
        matched, _ = htc_ops.match_anchors(
            anchors,
            gt_boxes,
            positive_iou=config.positive_iou,
            negative_iou=config.negative_iou,
            min_positive_iou=config.min_positive_iou,
            match_low_quality=True,
            **ignored_regions(truth, config.ignore_iof, anchors.dtype),
        )
        positive, negative = sample(
            matched, config.sample_size, config.positive_fraction, self.choose
        )
        targets = paddle.zeros([0, 4], dtype=anchors.dtype)
        if positive.shape[0]:
            targets = htc_ops.encode_boxes(
                paddle.gather(anchors, positive),
                paddle.gather(gt_boxes, paddle.gather(matched, positive)),
            )
            positive = paddle.gather(inside, positive)
        if negative.shape[0]:
            negative = paddle.gather(inside, negative)
        return positive, negative, targets


def _rows(x, columns: int):
    """[B, ratios * columns, H, W] -> [B, H * W * ratios, columns] in float32 at least."""
    x = full_precision(x).transpose([0, 2, 3, 1])
    return x.reshape([row_count(x), -1, columns])
