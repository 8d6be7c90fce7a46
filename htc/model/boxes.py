"""Rows of boxes of several pictures, and how they are ranked and thinned out.

The boxes of a batch are one tensor `boxes [R, 4]`, picture after picture, with `boxes_num [B]`.

Ties, everywhere in the model: of equal scores the lower index goes first. An anchor that overlaps
two ground truths equally takes the lower index; but a ground truth takes every anchor that has
exactly its best IoU, and of several such ground truths the last one does (`htc_ops.match_anchors`).

The spare row: Paddle 2.6's convolutions and matrix products refuse tensors without rows, and a
picture may have no proposal and no detection. At inference one unit box therefore rides at the end
of the last picture's boxes, and is cut off from the results.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle

import htc_ops

SPARE_SCORE = -1e30  # below every real score, and finite, so that sorting needs no special case


class RoIs(NamedTuple):
    """Regions of a batch: boxes [R, 4], and how many are each picture's, boxes_num [B] int32."""

    boxes: paddle.Tensor
    boxes_num: paddle.Tensor


def full_precision(x):
    """float16 and bfloat16 -> float32; float32 and float64 as they are.

    Box arithmetic, losses and softmaxes go through here, so that autocast leaves them alone.
    """
    return x.astype("float32") if x.dtype in (paddle.float16, paddle.bfloat16) else x


def dim(x, axis: int):
    """x.shape[axis]: an int; while a graph is exported, a 0-D int64 tensor that it leaves open."""
    if paddle.in_dynamic_mode():
        return x.shape[axis]
    return paddle.shape(x)[axis].astype("int64")


def row_count(x):
    """dim(x, 0)."""
    return dim(x, 0)


def picture_of_rows(boxes_num, total):
    """boxes_num [B] -> the picture of each of the `total` rows, int64 [total]."""
    ends = paddle.cumsum(boxes_num.astype("int64"), axis=0)
    return paddle.searchsorted(ends, paddle.arange(total, dtype="int64"), right=True)


def count_per_picture(pictures, num_pictures):
    """Picture of each row [R] int64 -> rows of each picture, int64 [num_pictures]."""
    columns = paddle.arange(num_pictures, dtype="int64").unsqueeze(1)
    return (pictures.unsqueeze(0) == columns).astype("int64").sum(axis=1)


def top_k_indices(scores, k: int):
    """The k best of each row of scores [B, A], int64 [B, min(k, A)], by rising index.

    Equal scores at the end of the ranking are taken by rising index, which paddle.topk leaves open.
    NaN counts as the lowest score.
    """
    lowest = paddle.full_like(scores, -float("inf"))
    scores = paddle.where(paddle.isnan(scores), lowest, scores)
    count = dim(scores, 1)
    k = min(k, count) if isinstance(count, int) else paddle.clip(count, max=k)
    threshold = paddle.topk(scores, k, axis=1)[0].min(axis=1, keepdim=True)  # [B, 1]
    above = scores > threshold
    # Not by ==, which in Paddle 2.6 holds for floats up to 1e-8 apart.
    tied = (scores >= threshold) & paddle.logical_not(above)
    vacant = k - above.astype("int64").sum(axis=1, keepdim=True)
    kept = above | (tied & (paddle.cumsum(tied.astype("int64"), axis=1) <= vacant))
    return paddle.nonzero(kept)[:, 1].reshape([row_count(scores), -1])


class Ranked(NamedTuple):
    """Boxes that NMS kept, picture after picture, by falling score within each, and the spare row.

    boxes [M + 1, 4]; scores [M + 1]; classes [M + 1] int64; boxes_num [B] int32, spare row too.
    """

    boxes: paddle.Tensor
    scores: paddle.Tensor
    classes: paddle.Tensor
    boxes_num: paddle.Tensor


def nms_per_picture(
    boxes,
    scores,
    classes,
    pictures,
    batch,
    num_classes: int,
    iou_threshold: float,
    max_per_picture: int,
) -> Ranked:
    """Non-maximum suppression of all pictures in one call, and the best few boxes of each.

    Args:
        boxes: [N, 4]; scores: [N], SPARE_SCORE for a box to be dropped.
        classes: [N] int64, 0 .. num_classes - 1; pictures: [N] int64, 0 .. batch - 1. A box
            suppresses boxes of its own class and picture alone.
        batch: number of pictures.
    """
    # The spare row competes with nothing, as the only box of a picture after the last.
    boxes = paddle.concat([boxes, spare_box(boxes.dtype)])
    scores = paddle.concat([scores, paddle.full([1], SPARE_SCORE, dtype=scores.dtype)])
    classes = paddle.concat([classes, paddle.zeros([1], dtype="int64")])
    pictures = paddle.concat([pictures, paddle.arange(batch, batch + 1, dtype="int64")])

    kept = htc_ops.batched_nms(boxes, scores, pictures * num_classes + classes, iou_threshold)
    total = row_count(kept)
    place = paddle.arange(total, dtype="int64")
    # A key that is unique needs no stable sort: picture first, then the place by falling score.
    order = paddle.argsort(paddle.gather(pictures, kept) * total + place)
    kept = paddle.gather(kept, order)
    pictures = paddle.gather(pictures, kept)
    boxes_num = count_per_picture(pictures, batch + 1)
    first = paddle.cumsum(boxes_num, axis=0) - boxes_num
    rank = place - paddle.gather(first, pictures)
    real = paddle.gather(scores, kept) > SPARE_SCORE
    wanted = ((rank < max_per_picture) & real) | (pictures == batch)
    kept = paddle.masked_select(kept, wanted)
    last = paddle.arange(batch - 1, batch, dtype="int64")
    pictures = paddle.minimum(paddle.masked_select(pictures, wanted), last)
    return Ranked(
        paddle.gather(boxes, kept),
        paddle.gather(scores, kept),
        paddle.gather(classes, kept),
        count_per_picture(pictures, batch).astype("int32"),
    )


def spare_box(dtype):
    """The unit box that keeps RoI tensors from being empty, [1, 4]."""
    return paddle.to_tensor([[0, 0, 1, 1]], dtype=dtype)


def without_spare(rois: RoIs) -> RoIs:
    """The RoIs without the spare row at their end."""
    return RoIs(without_last_row(rois.boxes), rois.boxes_num - _last_picture(rois.boxes_num))


def without_last_row(x):
    """x[:-1], which may leave no row at all."""
    if paddle.in_dynamic_mode():
        return x[:-1]
    # A slice without rows fails in oneDNN; gather does not go there.
    return paddle.gather(x, paddle.arange(row_count(x) - 1, dtype="int64"))


def spare_rois(batch: int, dtype) -> RoIs:
    """The spare row alone, for a batch without any RoI."""
    boxes_num = paddle.zeros([batch], dtype="int32")
    return RoIs(spare_box(dtype), boxes_num + _last_picture(boxes_num))


def _last_picture(boxes_num):
    """1 for the last picture, 0 for the others, int32 [B]."""
    batch = row_count(boxes_num)
    return (paddle.arange(batch, dtype="int64") == batch - 1).astype("int32")
