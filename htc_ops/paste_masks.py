"""Masks of detections pasted into their picture: as bitmaps, bits, and COCO run-length codes."""

from __future__ import annotations

from itertools import pairwise

import paddle

from htc_ops import _checks as checks
from htc_ops import _library

MAX_SIDE = 2**31 - 1


@_library.operator
def paste_masks(masks, boxes, image_size, threshold=0.5, packed=False):
    """Stretch each mask over its box, read it at every pixel's centre, and compare.

    The centre of pixel x is x + 0.5; on the mask that is (x + 0.5 - x1) / (x2 - x1) * M' - 0.5,
    where cell 0 has its centre at 0. There the mask is read by bilinear interpolation, as if it
    were surrounded by zeros. A pixel is 1 where the value is at least the threshold.

    - Positions are computed in float64, values and the comparison in float64 for float64 masks and
      in float32 else.
    - A pixel beyond all cells (more than half a cell outside the box) is 0, with threshold 0 too.
    - A NaN value is below every threshold. A mask of infinite values follows the arithmetic of
      first + weight * (second - first).
    - A box without positive width and height, or with a NaN or infinite coordinate, has no pixels.

    Nothing of the size of the result is held beside it.

    Source: mmdetection 3.3.0, mask_heads/fcn_mask_head.py, _do_paste_mask.

    Args:
        masks: [N, M, M'] or [N, 1, M, M'] probabilities: float32, float64, float16 or bfloat16.
        boxes: [N, 4] float32 or float64, x1 y1 x2 y2 in pixels of the picture; may reach out of it.
        image_size: (height, width) of the picture in pixels.
        threshold: from 0 to 1.
        packed: one bit a pixel, an eighth of the memory. Rows are whole bytes, the first pixel in
            the highest bit, zeros at the end: numpy.packbits(bitmaps, axis=-1), which
            numpy.unpackbits(bits, axis=-1, count=width) undoes.

    Returns:
        [N, height, width] uint8 of 0 and 1, no gradient.
        packed: [N, height, ceil(width / 8)] uint8.

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    inputs, attributes = _checked(masks, boxes, image_size, threshold)
    if not isinstance(packed, bool):
        raise TypeError(f"packed: expected True or False, got {packed!r}"[:200])
    name, output = ("htc_paste_masks_packed", "Bits") if packed else ("htc_paste_masks", "Bitmaps")
    with paddle.no_grad():
        return _library.call(name, inputs, attributes, {output: paddle.uint8})[0]


@_library.operator
def paste_masks_rle(masks, boxes, image_size, threshold=0.5, as_tensors=False):
    """Return the run-length codes of `paste_masks`, without its bitmaps.

    The codes are those of pycocotools.mask.encode on each bitmap of `paste_masks`, byte for byte.
    Time grows with the columns of the boxes and memory with the masks and the codes; neither with
    the area of the picture. (pycocotools counts pixels in 32 bits; here they are counted in 64.)
    On a GPU the call waits twice, for the number of changes and for the length of the codes.

    Args:
        masks, boxes, image_size, threshold: as for paste_masks.
        as_tensors: return the codes as two tensors. A program (to_static, jit.save) can have
            nothing else.

    Returns:
        A list of N dicts {"size": [height, width], "counts": bytes}, COCO's compressed format.
        With as_tensors: (codes, offsets), codes uint8 [L] one after another, that of mask n at
        offsets[n]:offsets[n + 1]; offsets int64 [N + 1].

    Raises:
        TypeError, ValueError: an argument that is not as above.
    """
    inputs, attributes = _checked(masks, boxes, image_size, threshold)
    if not isinstance(as_tensors, bool):
        raise TypeError(f"as_tensors: expected True or False, got {as_tensors!r}"[:200])
    if not as_tensors and checks.is_symbolic(masks):
        raise ValueError("as_tensors: expected True in a program that is being built, got False")
    outputs = {"Codes": paddle.uint8, "Offsets": paddle.int64}
    with paddle.no_grad():
        codes, offsets = _library.call("htc_paste_masks_rle", inputs, attributes, outputs)
    if as_tensors:
        return codes, offsets
    text, ends = codes.numpy().tobytes(), offsets.numpy().tolist()
    size = [attributes["height"], attributes["width"]]
    return [{"size": list(size), "counts": text[start:end]} for start, end in pairwise(ends)]


def _checked(masks, boxes, image_size, threshold) -> tuple[dict, dict]:
    """The inputs and attributes of the operators."""
    if len(getattr(masks, "shape", ())) == 4:
        checks.check_tensor("masks", masks, ("N", 1, "M", "M'"), checks.HALF_FLOATS)
        masks = paddle.squeeze(masks, axis=1)
    checks.check_tensor("masks", masks, ("N", "M", "M'"), checks.HALF_FLOATS)
    checks.check_tensor("boxes", boxes, ("N", 4), checks.FLOATS)
    checks.check_same_device("boxes", boxes, "masks", masks)
    checks.check_length("boxes", boxes, masks.shape[0], "one a mask")
    height, width = _image_size(image_size)
    inputs = {"Masks": masks, "Boxes": boxes}
    attributes = {
        "height": height,
        "width": width,
        "threshold": _library.real(checks.check_fraction("threshold", threshold)),
    }
    return inputs, attributes


def _image_size(image_size) -> tuple[int, int]:
    if not isinstance(image_size, (tuple, list)):
        raise TypeError(f"image_size: expected (height, width), got {image_size!r}"[:200])
    height, width = checks.check_pair("image_size", image_size, minimum=0)
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"image_size: expected at most {MAX_SIDE} a side, got {image_size}")
    return height, width
