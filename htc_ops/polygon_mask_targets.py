"""Training targets of the mask head, from ground-truth polygons."""

from __future__ import annotations

import itertools

import numpy as np
import paddle

from htc_ops import _checks as checks
from htc_ops import _library
from htc_ops.mask_targets import check_gt_index, check_size


@_library.operator
def polygon_mask_targets(boxes, polygons, gt_index, size):
    """Crop the polygons of each box's ground truth to the box and fill them, at `size`.

    Points are moved by the box's corner (x1, y1) and scaled by size / max(side, 1) in the dtype of
    boxes, so that the box fills the target; the polygons are then filled as the COCO API does
    (pycocotools.mask.frPyObjects, merge and decode at that size, the same bits) and united.

    A box with a NaN or infinite coordinate and a part with one fill nothing. A scaled point more
    than 2^30 / 5 cells away is taken to lie there. In a program (to_static) the polygons become
    constants.

    Source: mmdetection 3.3.0, structures/mask/structures.py, PolygonMasks.crop_and_resize; COCO
    API, maskApi.c, rleFrPoly.

    Args:
        boxes: [R, 4] float32 or float64, x1 y1 x2 y2 in pixels.
        polygons: of each of the G ground truths a list of parts, a part a flat list or array
            x, y, x, y, ... of at least three points in pixels, as in COCO's "segmentation".
        gt_index: [R] int64 or int32, which ground truth each box takes: 0 to G - 1.
        size: S, or (height, width), of the targets in cells.

    Returns:
        [R, S, S] float32 of 0 and 1, no gradient.

    Raises:
        TypeError, ValueError: an argument that is not as above. (On a GPU an index out of range is
            not looked for: such a box has an empty target.)
    """
    checks.check_tensor("boxes", boxes, ("R", 4), checks.FLOATS)
    points, part_offsets, gt_offsets = _flat(polygons)
    check_gt_index(gt_index, boxes, len(polygons))
    height, width = check_size(size)
    place = None if checks.is_symbolic(boxes) else boxes.place
    inputs = {
        "Boxes": boxes,
        "Points": paddle.to_tensor(points, place=place),
        "PartOffsets": paddle.to_tensor(part_offsets, place=place),
        "GtOffsets": paddle.to_tensor(gt_offsets, place=place),
        "GtIndex": gt_index,
    }
    attributes = {"target_height": height, "target_width": width}
    outputs = {"Targets": paddle.float32}
    with paddle.no_grad():
        return _library.call("htc_polygon_mask_targets", inputs, attributes, outputs)[0]


def _flat(polygons) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All points [P, 2], where the points of each part begin, and the parts of each ground truth."""
    if not isinstance(polygons, (list, tuple)):
        raise TypeError(
            "polygons: expected a list, of each ground truth a list of parts, "
            f"got {type(polygons).__name__}"
        )
    parts, parts_of_gt = [], []
    for number, gt in enumerate(polygons):
        if not isinstance(gt, (list, tuple)):
            raise TypeError(
                f"polygons[{number}]: expected a list of parts, each x, y, x, y, ..., "
                f"got {type(gt).__name__}"
            )
        parts += [_part(f"polygons[{number}][{index}]", part) for index, part in enumerate(gt)]
        parts_of_gt.append(len(gt))
    points = np.concatenate(parts) if parts else np.zeros(0)
    part_offsets = [0, *itertools.accumulate(len(part) // 2 for part in parts)]
    gt_offsets = [0, *itertools.accumulate(parts_of_gt)]
    return points.reshape(-1, 2), np.array(part_offsets, "int64"), np.array(gt_offsets, "int64")


def _part(name: str, part) -> np.ndarray:
    try:
        numbers = np.asarray(part, "float64")
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected numbers x, y, x, y, ..., got {part!r}"[:200]) from None
    if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2:
        raise ValueError(
            f"{name}: expected x, y, x, y, ... of at least three points, "
            f"got {numbers.size} numbers of shape {list(numbers.shape)}"
        )
    return numbers
