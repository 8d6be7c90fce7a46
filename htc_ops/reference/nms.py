"""What non-maximum suppression computes, in NumPy. Slow, and meant to be read."""

import numpy as np

MIN_UNION = 1e-6


def iou_with(box, boxes):
    """IoU of box [4] with boxes [N, 4]; 0 where either has no extent or is not finite."""
    one = box.dtype.type
    with np.errstate(all="ignore"):  # areas of huge boxes overflow
        width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
        height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
        overlap = np.fmax(width, one(0)) * np.fmax(height, one(0))
        area = (box[2] - box[0]) * (box[3] - box[1])
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        iou = overlap / np.fmax(area + areas - overlap, one(MIN_UNION))  # of NaN: MIN_UNION
    return np.where(can_overlap(box[None]) & can_overlap(boxes), iou, one(0))


def can_overlap(boxes):
    """Whether boxes [N, 4] are finite, with positive width and height."""
    return np.isfinite(boxes).all(1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def falling(scores):
    """Indices by falling score; equal scores by rising index, NaN last."""
    return np.argsort(-scores, kind="stable")  # NumPy puts NaN last


def batched_nms(boxes, scores, class_ids, iou_threshold, max_keep=None):
    """boxes [N, 4], scores [N], class_ids [N] -> kept indices, by falling score."""
    threshold = boxes.dtype.type(iou_threshold)
    kept = []
    suppressed = np.zeros(len(boxes), bool)
    for index in falling(scores):
        if suppressed[index]:
            continue
        kept.append(index)
        suppressed |= (iou_with(boxes[index], boxes) > threshold) & (class_ids == class_ids[index])
    return np.array(kept[:max_keep], np.int64)


def nms(boxes, scores, iou_threshold):
    """boxes [N, 4], scores [N] -> kept indices, by falling score."""
    return batched_nms(boxes, scores, np.zeros(len(boxes), np.int64), iou_threshold)
