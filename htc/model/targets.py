"""What a batch is trained towards: matching, sampling and the targets of each head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import paddle

import htc_ops
from htc.config.schema import CascadeConfig
from htc.model.boxes import RoIs, spare_rois

NEGATIVE = -1  # htc_ops.match_anchors: background
NOT_SAMPLED = -2  # neither object nor background


@dataclass
class GroundTruth:
    """The annotations of one picture, in pixels of the picture that the network sees, un-padded.

    boxes: [G, 4] float32 xyxy.
    labels: [G] int64, 0 .. num_classes - 1.
    masks: [G, H, W] uint8 of 0 and 1, or None for a model without masks.
    crowd_boxes: [K, 4] float32, regions that are neither object nor background, or None.
    semantic: [H, W] uint8, class or ignore label of each pixel, or None without that branch.
    picture_id: named in errors.
    """

    boxes: paddle.Tensor
    labels: paddle.Tensor
    masks: paddle.Tensor | None = None
    crowd_boxes: paddle.Tensor | None = None
    semantic: paddle.Tensor | None = None
    picture_id: object = None


def check_ground_truth(
    ground_truth: list[GroundTruth],
    image_sizes: list,
    num_classes: int,
    masks: bool,
    semantic: bool,
):
    """Raise ValueError where annotations do not fit the batch or lack what the model trains on.

    Args:
        image_sizes: (height, width) of each picture.
        masks, semantic: whether the model trains on masks and on semantic maps.
    """
    if len(ground_truth) != len(image_sizes):
        raise ValueError(
            f"ground_truth: expected one for each of {len(image_sizes)} pictures, "
            f"got {len(ground_truth)}"
        )
    for truth, (height, width) in zip(ground_truth, image_sizes, strict=True):
        picture, count = f"ground_truth of picture {truth.picture_id}", truth.boxes.shape[0]
        height, width = int(height), int(width)
        if truth.boxes.ndim != 2 or truth.boxes.shape[1] != 4:
            raise ValueError(f"{picture}: boxes: expected [G, 4], got {list(truth.boxes.shape)}")
        if truth.labels.shape[0] != count:
            raise ValueError(f"{picture}: expected {count} labels, got {truth.labels.shape[0]}")
        if count and not 0 <= int(truth.labels.min()) <= int(truth.labels.max()) < num_classes:
            raise ValueError(
                f"{picture}: labels: expected 0 to {num_classes - 1} (num_classes={num_classes}), "
                f"got {truth.labels.tolist()}"
            )
        if masks and count and _shape(truth.masks) != [count, height, width]:
            raise ValueError(
                f"{picture}: masks: expected {[count, height, width]}, got {_shape(truth.masks)}; "
                "set model.mask_head.enabled=false to train without masks"
            )
        if semantic and truth.semantic is None:
            raise ValueError(
                f"{picture}: has no semantic map; add the maps, or set model.semantic.enabled=false"
            )
        if semantic and _shape(truth.semantic) != [height, width]:
            raise ValueError(
                f"{picture}: semantic map: expected {[height, width]}, got {_shape(truth.semantic)}"
            )


def _shape(x) -> list | None:
    return None if x is None else list(x.shape)


class Samples(NamedTuple):
    """RoIs sampled for training, picture after picture, each picture's positives first.

    rois: the boxes [R, 4] and how many of each picture.
    labels: [R] int64, class of the matched ground truth, num_classes for background.
    gt_index: [R] int64, ground truth of the row's own picture, -1 for background.
    gt_boxes: [R, 4], the matched ground truth; the RoI itself for background.
    was_gt: [R] bool, rows that are prepended ground truth.

    A batch without any RoI has one RoI, the spare row, that no label goes with: the heads run on
    it, so that their parameters get gradients (of zero), and the next stage does not see it.
    """

    rois: RoIs
    labels: paddle.Tensor
    gt_index: paddle.Tensor
    gt_boxes: paddle.Tensor
    was_gt: paddle.Tensor


Choose = Callable[[paddle.Tensor, int], paddle.Tensor]


def choose_at_random(gallery, num: int):
    """num of the gallery (int64 [N], N > num) at random, by rising index."""
    return paddle.sort(gallery[paddle.randperm(gallery.shape[0])[:num]])


def choose_evenly(gallery, num: int):
    """num of the gallery (int64 [N], N > num), evenly spaced: repeatable, for tests."""
    return gallery[paddle.arange(num, dtype="int64") * gallery.shape[0] // num]


def sample(matched, num: int, positive_fraction: float, choose: Choose):
    """Up to num rows, of them at most positive_fraction positive; negatives fill up.

    Args:
        matched: [N] int64 as htc_ops.match_anchors gives it.
        choose: called where there are more candidates than places.

    Returns:
        (positive, negative): int64 indices, rising each.
    """
    positive = paddle.nonzero(matched >= 0).flatten()
    places = int(num * positive_fraction)
    if positive.shape[0] > places:
        positive = choose(positive, places)
    negative = paddle.nonzero(matched == NEGATIVE).flatten()
    places = num - positive.shape[0]
    if negative.shape[0] > places:
        negative = choose(negative, places)
    return positive, negative


def match_proposals(boxes, truth: GroundTruth, iou: float, config: CascadeConfig):
    """Ground truth of each proposal, int64 [N], or -1 below the IoU; crowd regions give -2."""
    matched, _ = htc_ops.match_anchors(
        boxes,
        truth.boxes.astype(boxes.dtype),
        positive_iou=iou,
        negative_iou=iou,
        min_positive_iou=iou,
        match_low_quality=config.match_low_quality,
        **ignored_regions(truth, config.ignore_iof, boxes.dtype),
    )
    return matched


def ignored_regions(truth: GroundTruth, ignore_iof: float, dtype) -> dict:
    """The arguments of htc_ops.match_anchors about crowd regions, if there are any."""
    if ignore_iof <= 0 or truth.crowd_boxes is None or truth.crowd_boxes.shape[0] == 0:
        return {}
    return {"ignore_boxes": truth.crowd_boxes.astype(dtype), "ignore_iof": ignore_iof}


@paddle.no_grad()
def sample_rois(
    proposals: RoIs,
    ground_truth: list[GroundTruth],
    iou: float,
    config: CascadeConfig,
    num_classes: int,
    choose: Choose,
) -> Samples:
    """Match proposals to ground truth at a stage's IoU threshold and sample a batch of RoIs.

    The ground truth itself is prepended, so that a stage never lacks positives where a picture has
    instances.
    """
    parts = []
    counts = proposals.boxes_num.tolist()
    for boxes, truth in zip(split_rows(proposals.boxes, counts), ground_truth, strict=True):
        own = truth.boxes.astype(boxes.dtype)
        num_gt = own.shape[0]
        # Each ground truth is its own match; without area it has no deltas to learn from.
        has_area = (own[:, 2] > own[:, 0]) & (own[:, 3] > own[:, 1])
        matched = paddle.arange(num_gt, dtype="int64")
        matched = paddle.where(has_area, matched, paddle.full_like(matched, NOT_SAMPLED))
        if boxes.shape[0]:
            matched = concat_rows([matched, match_proposals(boxes, truth, iou, config)])
        boxes = concat_rows([own, boxes])
        positive, negative = sample(matched, config.sample_size, config.positive_fraction, choose)
        chosen = concat_rows([positive, negative])
        parts.append(_samples_of(boxes, own, truth.labels, matched, chosen, num_gt, num_classes))
    boxes, labels, gt_index, gt_boxes, was_gt = (
        concat_rows(list(part)) for part in zip(*parts, strict=True)
    )
    if boxes.shape[0] == 0:
        rois = spare_rois(len(parts), boxes.dtype)
        return Samples(rois, labels, gt_index, gt_boxes, paddle.ones([1], dtype="bool"))
    boxes_num = paddle.to_tensor([part[0].shape[0] for part in parts], dtype="int32")
    return Samples(RoIs(boxes, boxes_num), labels, gt_index, gt_boxes, was_gt)


def _samples_of(boxes, gt_boxes, gt_labels, matched, chosen, num_gt, num_classes):
    """The columns of Samples of one picture."""
    if chosen.shape[0] == 0:
        empty = paddle.zeros([0], dtype="int64")
        none = paddle.zeros([0, 4], dtype=boxes.dtype)
        return none, empty, empty, none, empty.astype("bool")
    boxes = paddle.gather(boxes, chosen)
    gt_index = paddle.gather(matched, chosen)
    if num_gt == 0:
        labels = paddle.full_like(gt_index, num_classes)
        return boxes, labels, gt_index, boxes, chosen < num_gt
    positive = gt_index >= 0
    nearest = paddle.clip(gt_index, min=0)
    background = paddle.full_like(gt_index, num_classes)
    labels = paddle.where(positive, paddle.gather(gt_labels, nearest), background)
    matches = paddle.where(positive.unsqueeze(1), paddle.gather(gt_boxes, nearest), boxes)
    return boxes, labels, gt_index, matches, chosen < num_gt


def drop_ground_truth(samples: Samples, boxes) -> RoIs:
    """The refined boxes [R, 4] of samples, without the rows that were prepended ground truth."""
    counts = samples.rois.boxes_num.tolist()
    kept = [
        paddle.nonzero(paddle.logical_not(was_gt)).flatten()
        for was_gt in split_rows(samples.was_gt, counts)
    ]
    boxes = [part[index] for part, index in zip(split_rows(boxes, counts), kept, strict=True)]
    boxes_num = paddle.to_tensor([index.shape[0] for index in kept], dtype="int32")
    return RoIs(concat_rows(boxes), boxes_num)


class MaskSamples(NamedTuple):
    """The positives of a batch of samples: RoIs [P], their classes, and mask targets [P, S, S].

    A batch without positives has the spare row as its RoI, that no label goes with.
    """

    rois: RoIs
    labels: paddle.Tensor
    targets: paddle.Tensor


@paddle.no_grad()
def mask_samples(samples: Samples, ground_truth: list[GroundTruth], size: int) -> MaskSamples:
    """The positives of samples, with crops of the ground truth masks."""
    counts = samples.rois.boxes_num.tolist()
    boxes, labels, targets, boxes_num = [], [], [], []
    for part, part_labels, gt_index, truth in zip(
        split_rows(samples.rois.boxes, counts),
        split_rows(samples.labels, counts),
        split_rows(samples.gt_index, counts),
        ground_truth,
        strict=True,
    ):
        # Positives come first in each picture's rows.
        count = int((gt_index >= 0).sum()) if gt_index.shape[0] else 0
        boxes_num.append(count)
        if count == 0:
            continue
        boxes.append(part[:count])
        labels.append(part_labels[:count])
        targets.append(htc_ops.mask_targets(part[:count], truth.masks, gt_index[:count], size))
    if not boxes:
        rois = spare_rois(len(ground_truth), samples.rois.boxes.dtype)
        return MaskSamples(rois, samples.labels[:0], paddle.zeros([0, size, size]))
    rois = RoIs(paddle.concat(boxes), paddle.to_tensor(boxes_num, dtype="int32"))
    return MaskSamples(rois, paddle.concat(labels), paddle.concat(targets))


def semantic_labels(
    ground_truth: list[GroundTruth], height: int, width: int, stride: int, ignore_label: int
):
    """Every stride-th pixel of the maps, padded with ignore_label: int64 [B, height, width]."""
    labels = paddle.full([len(ground_truth), height, width], ignore_label, dtype="int64")
    for index, truth in enumerate(ground_truth):
        part = truth.semantic[::stride, ::stride].astype("int64")
        labels[index, : part.shape[0], : part.shape[1]] = part
    return labels


def split_rows(x, counts: list[int]) -> list:
    """x [sum(counts), ...] cut into parts of the given numbers of rows, empty ones included."""
    ends = [sum(counts[: index + 1]) for index in range(len(counts))]
    return [x[end - count : end] for count, end in zip(counts, ends, strict=True)]


def concat_rows(parts: list):
    """Concatenation that passes over empty parts, which Paddle 2.6 does not always accept."""
    full = [part for part in parts if part.shape[0]]
    return paddle.concat(full) if full else parts[0]
