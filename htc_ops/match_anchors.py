"""Anchor matching: which ground-truth box each anchor is trained towards."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library


@_library.operator
def match_anchors(
    anchors,
    gt_boxes,
    positive_iou,
    negative_iou,
    min_positive_iou=0.0,
    match_low_quality=True,
    ignore_boxes=None,
    ignore_iof=-1.0,
):
    """Match anchors (or proposals) to ground truths by IoU, without a matrix between them.

    An anchor whose largest IoU with a ground truth is at least `positive_iou` is matched to it (to
    the first, where several are equally large); one whose largest IoU is below `negative_iou` is
    negative. Then, with `match_low_quality`, each ground truth in order takes every anchor whose
    IoU with it equals its best IoU over all anchors exactly, if that best is at least
    `min_positive_iou`; a later ground truth takes from an earlier one. So with
    `min_positive_iou=0` a ground truth that touches no anchor takes all of them, as in the
    reference.

    The IoU is intersection / max(area + area - intersection, 1e-6), without +1, rounded in the
    type of the boxes in this order (NumPy gives the same bits). Thresholds are rounded to that type
    too. A box with a NaN or infinite coordinate, or an area that overflows, has IoU 0 with all; so
    has one of zero area or an inverted one, by the formula. No gradient.

    Source: Faster R-CNN, section 3.1.2; mmdetection 3.3.0, MaxIoUAssigner.

    Args:
        anchors: [A, 4] float32 or float64, x1 y1 x2 y2 in pixels.
        gt_boxes: [G, 4], dtype of anchors; G may be 0.
        positive_iou, negative_iou, min_positive_iou: 0 to 1, negative_iou <= positive_iou.
        match_low_quality: whether ground truths take anchors below positive_iou.
        ignore_boxes: None, or [K, 4] of the dtype of anchors: regions, such as crowds, to train
            nothing in. Without effect where ignore_iof is 0 or below.
        ignore_iof: 0 to 1, or below 0 (off). An anchor is ignored where more than this part of its
            area lies in one of ignore_boxes: it is matched to nothing, and no ground truth's best.

    Returns:
        matched: [A] int64, index of the ground truth; -1 negative; -2 between the thresholds or
            ignored.
        max_iou: [A] of the dtype of anchors, the largest IoU; 0 where there is no ground truth, -1
            where ignored.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_tensor("anchors", anchors, ("A", 4), checks.FLOATS)
    checks.check_tensor("gt_boxes", gt_boxes, ("G", 4), checks.FLOATS)
    checks.check_same("gt_boxes", gt_boxes, "anchors", anchors)
    positive = checks.check_fraction("positive_iou", positive_iou)
    negative = checks.check_fraction("negative_iou", negative_iou)
    if negative > positive:
        raise ValueError(
            f"negative_iou: expected at most positive_iou, {positive_iou}, got {negative_iou}"
        )
    minimum = checks.check_fraction("min_positive_iou", min_positive_iou)
    if not isinstance(match_low_quality, bool):
        raise TypeError(f"match_low_quality: expected a bool, got {match_low_quality!r}")
    if not checks.check_real("ignore_iof", ignore_iof) <= 1:
        raise ValueError(
            f"ignore_iof: expected a number from 0 to 1, or below 0 (off), got {ignore_iof}"
        )
    if ignore_boxes is not None:
        checks.check_tensor("ignore_boxes", ignore_boxes, ("K", 4), checks.FLOATS)
        checks.check_same("ignore_boxes", ignore_boxes, "anchors", anchors)
    inputs = {
        "Anchors": anchors,
        "GtBoxes": gt_boxes,
        "IgnoreBoxes": ignore_boxes,
    }
    attributes = {
        "positive_iou": _library.real(positive),
        "negative_iou": _library.real(negative),
        "min_positive_iou": _library.real(minimum),
        "match_low_quality": match_low_quality,
        "ignore_iof": _library.real(ignore_iof),
    }
    outputs = {"Matched": paddle.int64, "MaxIou": anchors.dtype}
    with paddle.no_grad():
        matched, max_iou = _library.call("htc_match_anchors", inputs, attributes, outputs)
    return matched, max_iou
