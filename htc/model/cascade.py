"""The interleaved cascade of box and mask heads (HTC, arXiv 1901.07518, section 3.1)."""

from __future__ import annotations

from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

import htc_ops
from htc.config.schema import ModelConfig
from htc.model.box_head import BoxHead
from htc.model.boxes import RoIs, without_last_row, without_spare
from htc.model.losses import (
    cross_entropy,
    select_class,
    sigmoid_cross_entropy,
    smooth_l1,
    zero_loss,
)
from htc.model.mask_head import MaskHead
from htc.model.postprocess import Detections, select_detections
from htc.model.targets import (
    Choose,
    GroundTruth,
    Samples,
    drop_ground_truth,
    mask_samples,
    sample_rois,
)

POOLED_LEVELS = 4  # P2 to P5
SEMANTIC_STRIDE = 8


class Features(NamedTuple):
    """What RoIs are pooled from.

    pyramid: P2 to P6, each [B, C, H / stride, W / stride].
    embedding: the semantic feature [B, C, H / 8, W / 8], or None.
    """

    pyramid: list
    embedding: paddle.Tensor | None


class Cascade(nn.Layer):
    """The RoI heads, one of `box_heads` and `mask_heads` a stage, and the loop that runs them."""

    def __init__(self, config: ModelConfig, num_classes: int, choose: Choose):
        super().__init__()
        self.config, self.num_classes, self.choose = config, num_classes, choose
        self.stages = config.cascade.stages
        channels, flow = config.fpn.channels, config.cascade.mask_info_flow
        self.box_heads = nn.LayerList(
            [BoxHead(channels, config.box_head, num_classes) for _ in self.stages]
        )
        self.mask_heads = nn.LayerList(
            [
                MaskHead(channels, config.mask_head, num_classes, flow=flow and t > 0)
                for t in range(len(self.stages) if config.mask_head.enabled else 0)
            ]
        )

    def run_cascade(
        self,
        features: Features,
        proposals: RoIs,
        image_sizes: paddle.Tensor,
        ground_truth: list[GroundTruth] | None = None,
    ) -> dict | Detections:
        """Each stage on the boxes that the stage before it refined, in training and at inference.

        Args:
            proposals: of the RPN, with the spare row (see htc.model.boxes).
            image_sizes: [B, 2] (height, width), un-padded.
            ground_truth: one a picture to train; None for inference.

        Returns:
            a dict of losses in training; Detections at inference.
        """
        training = ground_truth is not None
        rois = without_spare(proposals) if training else proposals
        losses, stage_logits = {}, []
        for t, box_head in enumerate(self.box_heads):
            if training:
                samples = self.sample(t, rois, ground_truth)
                rois = samples.rois
            class_logits, deltas = box_head(self.box_features(features, rois))
            boxes = self.decode(t, rois, deltas, image_sizes)  # [R, 4 * K]
            rois = RoIs(likeliest_boxes(boxes, class_logits), rois.boxes_num)
            stage_logits.append(class_logits)
            if training:
                losses.update(self.box_losses(t, samples, class_logits, deltas))
                rois = drop_ground_truth(samples, rois.boxes)
                if self.config.cascade.interleaved:  # this stage's masks learn on its own boxes
                    samples = self.sample(t, rois, ground_truth)
                losses.update(self.mask_losses(t, features, samples, ground_truth))
        if training:
            return losses
        return self.detect(features, boxes, stage_logits, rois.boxes_num)

    def detect(self, features: Features, boxes, stage_logits: list, boxes_num) -> Detections:
        """Detections from the last boxes [R, 4 * K] and each stage's class logits [R, C + 1]."""
        class_probs = F.softmax(sum(stage_logits) / len(stage_logits), axis=1)
        found = select_detections(boxes, class_probs, boxes_num, self.config.test)
        rois = RoIs(found.boxes, found.boxes_num)
        mask_probs = None
        if self.mask_heads:
            mask_probs = self.mask_probs(self.mask_features(features, rois), found.classes)
            mask_probs = without_last_row(mask_probs)
        rois = without_spare(rois)
        scores, classes = without_last_row(found.scores), without_last_row(found.classes)
        return Detections(rois.boxes, scores, classes, rois.boxes_num, mask_probs)

    def sample(self, t: int, rois: RoIs, ground_truth: list[GroundTruth]) -> Samples:
        """RoIs to train stage t on."""
        return sample_rois(
            rois,
            ground_truth,
            self.stages[t].iou_threshold,
            self.config.cascade,
            self.num_classes,
            self.choose,
        )

    @paddle.no_grad()
    def decode(self, t: int, rois: RoIs, deltas, image_sizes):
        """The boxes of RoIs moved by stage t's deltas [R, 4 * K] and clipped to their pictures."""
        stds = self.stages[t].delta_stds
        return htc_ops.decode_boxes(
            rois.boxes, deltas, stds=stds, image_size=image_sizes, boxes_num=rois.boxes_num
        )

    def box_features(self, features: Features, rois: RoIs):
        """What the box heads see: [R, C, 7, 7], from the pyramid and the semantic feature."""
        size = self.config.box_head.roi_size
        pooled = pool_pyramid(features.pyramid, rois, size, self.config.anchors.strides)
        if features.embedding is None or "box" not in self.config.semantic.fusion:
            return pooled
        # At twice the size, then averaged: mmdetection 3.3.0, htc_roi_head.py, _bbox_forward.
        return pooled + self.semantic_features(features.embedding, rois, size, average=2)

    def mask_features(self, features: Features, rois: RoIs):
        """What the mask heads see: [R, C, 14, 14], from the pyramid and the semantic feature."""
        size = self.config.mask_head.roi_size
        pooled = pool_pyramid(features.pyramid, rois, size, self.config.anchors.strides)
        if features.embedding is None or "mask" not in self.config.semantic.fusion:
            return pooled
        return pooled + self.semantic_features(features.embedding, rois, size)

    def semantic_features(self, embedding, rois: RoIs, size: int, average: int = 1):
        """The semantic feature of each RoI, [R, C, size, size]."""
        scale = 1 / SEMANTIC_STRIDE
        return htc_ops.roi_align(
            embedding, rois.boxes, rois.boxes_num, size, scale, average=average
        )

    def mask_probs(self, roi_features, labels):
        """[R, C, 14, 14], labels [R] -> mask probabilities [R, 28, 28] of the labels' classes."""
        last_alone = self.config.test.mask_ensemble == "last"
        probs, previous = [], None
        for t, head in enumerate(self.mask_heads):
            previous = head.features(roi_features, previous)
            if not last_alone or t == len(self.mask_heads) - 1:
                probs.append(F.sigmoid(head.class_logits(previous, labels)))
        return sum(probs) / len(probs)

    def box_losses(self, t: int, samples: Samples, class_logits, deltas) -> dict:
        """Softmax cross entropy and SmoothL1 of stage t, over the number of RoIs of the batch."""
        stage, count = self.stages[t], samples.labels.shape[0]
        class_loss = zero_loss(class_logits)
        delta_loss = zero_loss(deltas)
        if count:
            class_loss += cross_entropy(class_logits, samples.labels) / count
            positive = paddle.nonzero(samples.gt_index >= 0).flatten()
            if positive.shape[0]:
                targets = htc_ops.encode_boxes(
                    paddle.gather(samples.rois.boxes, positive),
                    paddle.gather(samples.gt_boxes, positive),
                    stds=stage.delta_stds,
                )
                deltas = paddle.gather(deltas, positive)
                if deltas.shape[1] > 4:
                    labels = paddle.gather(samples.labels, positive)
                    deltas = select_class(deltas.reshape([-1, self.num_classes, 4]), labels)
                beta = self.config.box_head.smooth_l1_beta
                delta_loss += smooth_l1(deltas, targets, beta) / count
        return {
            f"loss_bbox_cls_stage{t}": stage.loss_weight * class_loss,
            f"loss_bbox_reg_stage{t}": stage.loss_weight * delta_loss,
        }

    def mask_losses(self, t: int, features: Features, samples: Samples, ground_truth) -> dict:
        """Binary cross entropy of the ground truth class's mask, mean over positives and pixels."""
        if not self.mask_heads:
            return {}
        positives = mask_samples(samples, ground_truth, 2 * self.config.mask_head.roi_size)
        roi_features = self.mask_features(features, positives.rois)
        # Mask information flow: the heads before t run again, on the RoIs of t and with gradient.
        previous = None
        if self.config.cascade.mask_info_flow:
            for head in self.mask_heads[:t]:
                previous = head.features(roi_features, previous)
        head = self.mask_heads[t]
        logits = head(head.features(roi_features, previous))  # [P, C, 28, 28]
        if positives.labels.shape[0]:
            logits = select_class(logits, positives.labels)
            loss = sigmoid_cross_entropy(logits, positives.targets) / positives.targets.size
        else:
            loss = zero_loss(logits)
        return {f"loss_mask_stage{t}": self.stages[t].loss_weight * loss}


def pool_pyramid(pyramid, rois: RoIs, size: int, strides):
    """RoIAlign from the pyramid level that suits each box, [R, C, size, size]."""
    return htc_ops.multilevel_roi_align(
        pyramid[:POOLED_LEVELS], rois.boxes, rois.boxes_num, size, strides[:POOLED_LEVELS]
    )


def likeliest_boxes(boxes, class_logits):
    """boxes [R, 4], or [R, 4 * C] of which the likeliest foreground class's is taken -> [R, 4]."""
    num_classes = class_logits.shape[1] - 1
    if boxes.shape[1] == 4:
        return boxes
    labels = class_logits[:, :num_classes].argmax(axis=1)
    return select_class(boxes.reshape([-1, num_classes, 4]), labels)
