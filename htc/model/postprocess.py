"""From the cascade's answer to detections, in the network's picture and in the original one."""

from __future__ import annotations

from typing import NamedTuple

import paddle

from htc.config.schema import TestConfig
from htc.model.boxes import (
    Ranked,
    nms_per_picture,
    picture_of_rows,
    row_count,
    without_last_row,
)


class Detections(NamedTuple):
    """Detections of a batch, picture after picture, by falling score within each.

    boxes: [N, 4] xyxy in pixels of the network's picture (resized, un-padded).
    scores: [N] in 0..1. labels: [N] int64. boxes_num: [B] int32, detections of each picture.
    mask_probs: [N, 28, 28] in 0..1, stretched over the box; None of a model without masks.
    """

    boxes: paddle.Tensor
    scores: paddle.Tensor
    labels: paddle.Tensor
    boxes_num: paddle.Tensor
    mask_probs: paddle.Tensor | None


def select_detections(boxes, class_probs, boxes_num, config: TestConfig) -> Ranked:
    """Score threshold, per-class NMS, and the best few of each picture.

    Args:
        boxes: [R, 4] or, one a class, [R, 4 * C]; the last is the spare row (see htc.model.boxes).
        class_probs: [R, C + 1], background last.
        boxes_num: [B] int32, the spare row counted in the last picture.

    Returns:
        Ranked boxes with a spare row of their own.
    """
    num_classes = class_probs.shape[1] - 1
    batch = row_count(boxes_num)
    pictures = picture_of_rows(boxes_num, row_count(boxes))
    # The candidates: (row, class) above the threshold, the spare row left out.
    above = without_last_row(class_probs[:, :num_classes]) > config.score_threshold
    candidates = paddle.nonzero(above)  # [N, 2]
    rows, classes = candidates[:, 0], candidates[:, 1]
    if boxes.shape[1] == 4:
        boxes = paddle.gather(boxes, rows)
    else:
        boxes = paddle.gather_nd(boxes.reshape([-1, num_classes, 4]), candidates)
    return nms_per_picture(
        boxes,
        paddle.gather_nd(class_probs, candidates),
        classes,
        paddle.gather(pictures, rows),
        batch,
        num_classes,
        config.nms_iou,
        config.max_detections,
    )


def to_original(detections: Detections, scales) -> list[Detections]:
    """One Detections a picture, with boxes in pixels of the original picture.

    Args:
        scales: for each picture (x, y): network pixels an original pixel, as it was resized.

    Paste the masks with htc_ops.paste_masks or htc_ops.paste_masks_rle.
    """
    pictures = []
    end = 0
    for count, (x, y) in zip(detections.boxes_num.tolist(), scales, strict=True):
        rows = slice(end, end + count)
        end += count
        boxes = detections.boxes[rows]
        if count:  # Paddle 2.6 cannot divide nothing
            boxes = boxes / paddle.to_tensor([x, y, x, y], dtype=boxes.dtype)
        masks = detections.mask_probs
        pictures.append(
            Detections(
                boxes,
                detections.scores[rows],
                detections.labels[rows],
                paddle.to_tensor([count], dtype="int32"),
                None if masks is None else masks[rows],
            )
        )
    return pictures
