"""Non-maximum suppression: `nms` over all boxes, `batched_nms` with classes kept apart."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library

_CUDA = paddle.is_compiled_with_cuda()  # else no two tensors can be on different devices


@_library.operator
def nms(boxes, scores, iou_threshold):
    """Keep of overlapping boxes the one with the higher score.

    Boxes are visited by falling score; a box is kept unless a box that was kept before has an IoU
    strictly above the threshold with it. Equal scores are visited by rising index, NaN scores after
    all others. IoU is measured without adding a pixel (intersection over union, the union at least
    1e-6), in the dtype of boxes, exactly as htc_ops.reference.nms writes it.

    The same boxes as paddle.vision.ops.nms keeps, which leaves the order of equal scores open.
    On a GPU the call waits once, for the number of kept boxes.

    Args:
        boxes: [N, 4] float32 or float64, x1 y1 x2 y2 in pixels, N below 2^31. Boxes without
            positive width and height and boxes with a NaN or infinite coordinate overlap nothing:
            they are kept and suppress nothing. Where areas overflow, so does the IoU: two boxes
            that overlap by an infinite area suppress each other.
        scores: [N], dtype of boxes; infinities are ordinary scores.
        iou_threshold: a number from 0 to 1, rounded to the dtype of boxes.

    Returns:
        int64 [K]: indices of the kept boxes, by falling score. No gradient.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    return _nms(boxes, scores, None, iou_threshold, -1, batched=False)


@_library.operator
def batched_nms(boxes, scores, class_ids, iou_threshold, max_keep=None):
    """Suppress boxes within each class (or picture, or level), all classes in one call.

    As `nms` on the boxes of each class alone, then all kept boxes by falling score (equal scores by
    rising index). Coordinates are used as they are, not moved apart by class, so large ids or
    coordinates cost no accuracy.

    Source: the rule of mmdetection 3.3.0 (mmcv.ops.batched_nms), without its offsets.

    Args:
        boxes, scores, iou_threshold: as for nms.
        class_ids: [N] int32 or int64, any values.
        max_keep: at most so many boxes are returned, the best; at least 0. None: all.

    Returns:
        int64 [K]: indices of the kept boxes, by falling score. No gradient.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    max_keep = -1 if max_keep is None else checks.check_integer("max_keep", max_keep, 0)
    return _nms(boxes, scores, class_ids, iou_threshold, max_keep, batched=True)


def _nms(boxes, scores, class_ids, iou_threshold, max_keep, batched):
    check_scored_boxes(boxes, scores)
    if batched and not _is_id_per_box(class_ids, boxes):
        checks.check_tensor("class_ids", class_ids, ("N",), checks.INTEGERS)
        checks.check_same_device("class_ids", class_ids, "boxes", boxes)
        checks.check_length("class_ids", class_ids, boxes.shape[0], "one a box")
    inputs = {"Boxes": boxes, "Scores": scores, "ClassIds": class_ids}
    attributes = {
        "iou_threshold": _library.real(checks.check_fraction("iou_threshold", iou_threshold)),
        "max_keep": max_keep,
    }
    return _library.call("htc_nms", inputs, attributes, {"Kept": "int64"})[0]


# The checks by name cost as much as suppressing 300 boxes. Arguments that are in order, the usual
# case, are recognised by the two functions below; all others meet the checks.


def check_scored_boxes(boxes, scores):
    """Check boxes [N, 4] and scores [N] of one float dtype."""
    if isinstance(boxes, paddle.Tensor) and isinstance(scores, paddle.Tensor):
        shape, dtype = boxes.shape, boxes.dtype
        if (
            len(shape) == 2
            and shape[1] == 4
            and scores.shape == shape[:1]
            and dtype is scores.dtype
            and dtype in checks.FLOATS
            and (not _CUDA or boxes.place.is_gpu_place() == scores.place.is_gpu_place())
        ):
            return
    checks.check_tensor("boxes", boxes, ("N", 4), checks.FLOATS)
    checks.check_tensor("scores", scores, ("N",), checks.FLOATS)
    checks.check_same("scores", scores, "boxes", boxes)
    checks.check_length("scores", scores, boxes.shape[0], "one a box")


def _is_id_per_box(class_ids, boxes) -> bool:
    return (
        isinstance(class_ids, paddle.Tensor)
        and isinstance(boxes, paddle.Tensor)
        and class_ids.shape == boxes.shape[:1]
        and class_ids.dtype is paddle.int64
        and (not _CUDA or boxes.place.is_gpu_place() == class_ids.place.is_gpu_place())
    )
