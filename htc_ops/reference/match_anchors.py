"""What anchor matching computes, in NumPy. Slow, and meant to be read."""

import numpy as np


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
    """anchors [A, 4], gt_boxes [G, 4], ignore_boxes [K, 4] -> matched [A], max_iou [A]."""
    positive_iou, negative_iou, min_positive_iou, ignore_iof = (
        anchors.dtype.type(number)
        for number in (positive_iou, negative_iou, min_positive_iou, ignore_iof)
    )
    iou, _ = overlaps(anchors, gt_boxes)  # [A, G]
    ignored = np.zeros(len(anchors), bool)
    if ignore_iof > 0 and ignore_boxes is not None:
        _, over_anchor = overlaps(anchors, ignore_boxes)  # [A, K]
        ignored = (over_anchor > ignore_iof).any(axis=1)
        iou[ignored] = -1

    matched = np.full(len(anchors), -2, np.int64)
    if len(gt_boxes) == 0:
        matched[~ignored] = -1
        return matched, np.where(ignored, -1, 0).astype(anchors.dtype)
    max_iou = iou.max(axis=1)
    matched[(max_iou >= 0) & (max_iou < negative_iou)] = -1
    positive = max_iou >= positive_iou
    matched[positive] = iou.argmax(axis=1)[positive]
    if match_low_quality and len(anchors):
        best = iou.max(axis=0)  # [G]
        for g in range(len(gt_boxes)):
            if best[g] >= min_positive_iou:
                matched[iou[:, g] == best[g]] = g
    return matched, max_iou


def overlaps(boxes, others):
    """boxes [A, 4], others [G, 4] -> IoU [A, G], intersection over the area of the first [A, G]."""
    with np.errstate(over="ignore", invalid="ignore"):
        area, other_area = area_of(boxes)[:, None], area_of(others)
        bad = ~np.isfinite(area) | ~np.isfinite(other_area)
        low = np.maximum(boxes[:, None, :2], others[:, :2])
        high = np.minimum(boxes[:, None, 2:], others[:, 2:])
        side = np.maximum(high - low, 0)  # [A, G, 2]
        overlap = side[..., 0] * side[..., 1]
        union = np.maximum(area + other_area - overlap, boxes.dtype.type(1e-6))
        iou = np.where(bad, boxes.dtype.type(0), overlap / union)
        over_first = overlap / np.maximum(area, boxes.dtype.type(1e-6))
        return iou, np.where(bad, boxes.dtype.type(0), over_first)


def area_of(boxes):
    """Width times height; not finite where a coordinate is not."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
