"""Training targets of the mask head, from ground-truth bitmaps."""

from __future__ import annotations

import paddle

from htc_ops import _checks as checks
from htc_ops import _library

MAX_SIZE = 32768
BITMAPS = (paddle.uint8, paddle.bool)


@_library.operator
def mask_targets(boxes, gt_masks, gt_index, size, threshold=0.5):
    """Crop the bitmap of each box's ground truth to the box, at `size`, as 0 and 1.

    The value of a cell is that of RoIAlign with spatial scale 1, aligned, and adaptive sampling
    (`htc_ops.roi_align` of the bitmap); the target is 1 where it is at least the threshold. It is
    computed in the dtype of boxes, rows first: a value next to the threshold may fall on the other
    side of it than in a sum of another order.

    A box without positive width and height, or with a NaN or infinite coordinate, samples nothing:
    its value is 0. So is that of samples more than a pixel outside the bitmap. Boxes are not
    clipped to the picture: do that first where the head is to see the clipped box.

    Source: mmdetection 3.3.0, structures/mask/structures.py, BitmapMasks.crop_and_resize.

    Args:
        boxes: [R, 4] float32 or float64, x1 y1 x2 y2 in pixels of the bitmaps.
        gt_masks: [G, H, W] uint8 or bool, inside the object where not 0.
        gt_index: [R] int64 or int32, which bitmap each box takes: 0 to G - 1.
        size: S, or (height, width), of the targets in cells.
        threshold: from 0 to 1.

    Returns:
        [R, S, S] float32 of 0 and 1, no gradient.

    Raises:
        TypeError, ValueError: an argument that is not as above. (On a GPU an index out of range is
            not looked for, which would cost a wait: such a box has value 0.)
    """
    checks.check_tensor("boxes", boxes, ("R", 4), checks.FLOATS)
    checks.check_tensor("gt_masks", gt_masks, ("G", "H", "W"), BITMAPS)
    check_gt_index(gt_index, boxes, gt_masks.shape[0])
    checks.check_same_device("gt_masks", gt_masks, "boxes", boxes)
    inputs = {
        "Boxes": boxes,
        "GtMasks": gt_masks,
        "GtIndex": gt_index,
    }
    height, width = check_size(size)
    attributes = {
        "target_height": height,
        "target_width": width,
        "threshold": _library.real(checks.check_fraction("threshold", threshold)),
    }
    with paddle.no_grad():
        return _library.call("htc_mask_targets", inputs, attributes, {"Targets": paddle.float32})[0]


def check_gt_index(gt_index, boxes, num_gts: int) -> None:
    """One index of a ground truth for each box."""
    checks.check_tensor("gt_index", gt_index, ("R",), checks.INTEGERS)
    checks.check_same_device("gt_index", gt_index, "boxes", boxes)
    checks.check_length("gt_index", gt_index, boxes.shape[0], "one a box")
    if checks.is_symbolic(gt_index) or num_gts < 0 or not gt_index.place.is_cpu_place():
        return
    values = gt_index.numpy()
    wrong = (values < 0) | (values >= num_gts)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"gt_index: expected 0 to {num_gts - 1}, one of the {num_gts} ground truths, "
            f"got {int(values[row])} for box {row}"
        )


def check_size(size) -> tuple[int, int]:
    """The cells of a target: (height, width)."""
    height, width = checks.check_pair("size", size)
    if max(height, width) > MAX_SIZE:
        raise ValueError(f"size: expected at most {MAX_SIZE} a side, got {size}")
    return height, width
