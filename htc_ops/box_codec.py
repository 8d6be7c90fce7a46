"""Box deltas: `decode_boxes` moves boxes by them, `encode_boxes` makes them."""

from __future__ import annotations

import functools
import math

import paddle

from htc_ops import _checks as checks
from htc_ops import _library

_ZEROS = (0.0, 0.0, 0.0, 0.0)
_ONES = (1.0, 1.0, 1.0, 1.0)


@_library.operator
def decode_boxes(
    boxes,
    deltas,
    means=_ZEROS,
    stds=_ONES,
    image_size=None,
    boxes_num=None,
    max_ratio=1000 / 16,
):
    """Move boxes by deltas, in one pass: scale, shift, clamp, exponential, clip.

    With (dx, dy, dw, dh) = delta * stds + means, the centre moves by dx box widths and dy box
    heights, and the sides grow by exp(dw) and exp(dh); |dw| and |dh| are limited to
    log(max_ratio) first.
    No gradient. Rounded as float32 (float64 in double) in the order of the formula.

    Source: R-CNN, appendix C; mmdetection 3.3.0, models/task_modules/coders.

    Args:
        boxes: [R, 4] float32 or float64, x1 y1 x2 y2 in pixels.
        deltas: [R, 4 * K], dtype of boxes: K deltas a box (K = 1, or one a class).
        means: what is added to the scaled deltas, 4 numbers.
        stds: what the deltas are scaled by, 4 numbers.
        image_size: None to leave the results unclipped; (height, width) of all pictures; or [B, 2]
            of dtype of boxes with (height, width) of each picture, boxes_num beside it. Results are
            clipped to 0..width and 0..height.
        boxes_num: [B] int32 or int64, boxes of each picture, in order; its sum must be R.
        max_ratio: the largest growth or shrinking of a side, above 1.

    Returns:
        [R, 4 * K] of the dtype of boxes. NaN gives NaN; an infinite dw or dh is limited like any
        other.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_tensor("boxes", boxes, ("R", 4), checks.FLOATS)
    checks.check_tensor("deltas", deltas, ("R", "4 * K"), checks.FLOATS)
    checks.check_same("deltas", deltas, "boxes", boxes)
    checks.check_length("deltas", deltas, boxes.shape[0], "one a box")
    if deltas.shape[1] % 4 and deltas.shape[1] != -1:
        raise ValueError(f"deltas: expected [R, 4 * K], got {list(deltas.shape)}")
    if checks.check_real("max_ratio", max_ratio) <= 1:
        raise ValueError(f"max_ratio: expected a number above 1, got {max_ratio}")
    image_sizes, boxes_num = _picture_sizes(boxes, image_size, boxes_num)
    inputs = {
        "Boxes": boxes,
        "Deltas": deltas,
        "ImageSizes": image_sizes,
        "BoxesNum": boxes_num,
    }
    attributes = {
        "means": _four("means", means),
        "stds": _four("stds", stds),
        "max_log_ratio": _library.real(math.log(max_ratio)),
    }
    with paddle.no_grad():
        return _library.call("htc_decode_boxes", inputs, attributes, {"Decoded": boxes.dtype})[0]


@_library.operator
def encode_boxes(boxes, targets, means=_ZEROS, stds=_ONES):
    """Return the deltas that `decode_boxes` turns into `targets` from `boxes`.

    Args:
        boxes, targets: [R, 4] float32 or float64, x1 y1 x2 y2 in pixels, of one dtype.
        means, stds: as for decode_boxes; the stds must not be 0.

    Returns:
        [R, 4] of the dtype of boxes, no gradient. A box or target without positive width or height
        has an infinite or NaN delta there, as division and logarithm give it.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    checks.check_tensor("boxes", boxes, ("R", 4), checks.FLOATS)
    checks.check_tensor("targets", targets, ("R", 4), checks.FLOATS)
    checks.check_same("targets", targets, "boxes", boxes)
    checks.check_length("targets", targets, boxes.shape[0], "one a box")
    if 0 in (stds := tuple(stds)):
        raise ValueError(f"stds: expected numbers other than 0, got {stds}")
    inputs = {"Boxes": boxes, "Targets": targets}
    attributes = {"means": _four("means", means), "stds": _four("stds", stds)}
    with paddle.no_grad():
        return _library.call("htc_encode_boxes", inputs, attributes, {"Deltas": boxes.dtype})[0]


def _four(name: str, values) -> list[str]:
    values = tuple(values)
    if len(values) != 4:
        raise ValueError(f"{name}: expected 4 numbers, got {len(values)}")
    return [_library.real(checks.check_real(name, value)) for value in values]


def _picture_sizes(boxes, image_size, boxes_num):
    """The two optional inputs of the operator, from the forms that image_size may take."""
    if image_size is None:
        if boxes_num is not None:
            raise ValueError("boxes_num: expected None where image_size is None")
        return None, None
    if isinstance(image_size, (tuple, list)):
        if boxes_num is not None:
            raise ValueError("boxes_num: expected None where image_size is one (height, width)")
        if len(image_size) != 2:
            raise ValueError(f"image_size: expected (height, width), got {image_size}")
        height, width = (checks.check_real("image_size", side) for side in image_size)
        if checks.is_symbolic(boxes):
            return _one_picture(height, width, boxes.dtype, None)
        place = boxes.place
        device = f"gpu:{place.gpu_device_id()}" if place.is_gpu_place() else "cpu"
        return _kept_picture(height, width, boxes.dtype, device)
    checks.check_tensor("image_size", image_size, ("B", 2), checks.FLOATS)
    checks.check_same("image_size", image_size, "boxes", boxes)
    checks.check_boxes_num("boxes_num", boxes_num, "boxes", boxes)
    checks.check_length("boxes_num", boxes_num, image_size.shape[0], "one a row of image_size")
    return image_size, boxes_num


def _one_picture(height: float, width: float, dtype, device: str | None):
    """Inputs for boxes that are all of one picture: the last one has all that are left."""
    size = paddle.to_tensor([[height, width]], dtype=dtype, place=device)
    return size, paddle.to_tensor([0], dtype="int64", place=device)


# Making two tensors takes longer than decoding the boxes of a picture.
_kept_picture = functools.lru_cache(maxsize=16)(_one_picture)
