"""One small input for each operator, compared with its NumPy statement: what the doctor runs."""

from __future__ import annotations

import numpy as np
import paddle

import htc_ops
from htc_ops.reference import (
    box_codec,
    conv2d,
    mask_targets,
    match_anchors,
    nms,
    paste_masks,
    polygon_mask_targets,
    resample,
    roi_align,
    soft_nms,
)


class _Inputs:
    """Boxes and what goes with them, in a picture of 60 x 80; `tensor` puts one on the device."""

    def __init__(self, place):
        random = np.random.default_rng(0)
        self.place = place
        low = random.uniform(0, 50, (40, 2))
        self.boxes = np.concatenate([low, low + random.uniform(4, 30, (40, 2))], 1).astype("f4")
        self.others = self.boxes[::4] + np.float32([1, -1, 2, 1])
        self.scores = random.permutation(40).astype("f4") / 40
        self.classes = np.arange(40) % 3
        self.deltas = random.normal(0, 0.3, (40, 4)).astype("f4")
        self.maps = [random.normal(0, 1, (1, 3, side, side)).astype("f4") for side in (20, 10)]
        self.masks = random.uniform(0, 1, (6, 28, 28)).astype("f4")
        self.bitmaps = random.integers(0, 2, (3, 60, 80)).astype("uint8")
        self.polygons = [[random.uniform(0, 80, 12), random.uniform(20, 60, 6)] for _ in range(3)]

    def tensor(self, array):
        return paddle.to_tensor(array, place=self.place)


def _decode_boxes(inputs):
    boxes, deltas = inputs.boxes, inputs.deltas
    actual = htc_ops.decode_boxes(inputs.tensor(boxes), inputs.tensor(deltas))
    return actual, box_codec.decode_boxes(boxes, deltas, (0,) * 4, (1,) * 4)


def _encode_boxes(inputs):
    boxes, targets = inputs.boxes, inputs.boxes[::-1].copy()
    actual = htc_ops.encode_boxes(inputs.tensor(boxes), inputs.tensor(targets))
    return actual, box_codec.encode_boxes(boxes, targets, (0,) * 4, (1,) * 4)


def _on_cpu(*arrays):
    """For the operators that have no other kernel, whatever the place."""
    return [paddle.to_tensor(array, place=paddle.CPUPlace()) for array in arrays]


def _conv2d(inputs):
    x, weight = inputs.maps[0], inputs.maps[1][0, :, :9, :9].reshape(9, 3, 3, 3)
    actual = htc_ops.conv2d(*_on_cpu(x, weight), stride=2, relu=True)
    return actual, conv2d.conv2d(x, weight, stride=2, relu=True)


def _conv3x3(inputs):
    x, weight = inputs.maps[0], inputs.maps[1][0, :, :9, :9].reshape(9, 3, 3, 3)
    return htc_ops.conv3x3(*_on_cpu(x, weight)), conv2d.conv2d(x, weight, padding=1)


def _mask_logits(inputs):
    up, weight = inputs.maps[1][0, :, :2, :8].reshape(3, 4, 2, 2), inputs.maps[0][0, :2, 0, :4]
    weight = weight.reshape(2, 4, 1, 1)
    arrays = inputs.maps[1], up, weight[0, :, 0, 0], weight, weight[:, 0, 0, 0], np.array([1])
    return htc_ops.mask_logits(*_on_cpu(*arrays)), conv2d.mask_logits(*arrays)


def _max_pool_half(inputs):
    x = inputs.maps[0]
    return htc_ops.max_pool_half(*_on_cpu(x)), resample.max_pool_half(x)


def _resize_like(inputs):
    x, like = inputs.maps[::-1]
    return htc_ops.resize_like(*_on_cpu(x, like), add=True), resample.resize_like(x, like, add=True)


def _match_anchors(inputs):
    boxes, others = inputs.boxes, inputs.others
    matched, _ = htc_ops.match_anchors(inputs.tensor(boxes), inputs.tensor(others), 0.7, 0.3)
    return matched, match_anchors.match_anchors(boxes, others, 0.7, 0.3)[0]


def _nms(inputs):
    actual = htc_ops.nms(inputs.tensor(inputs.boxes), inputs.tensor(inputs.scores), 0.3)
    return actual, nms.nms(inputs.boxes, inputs.scores, 0.3)


def _batched_nms(inputs):
    arrays = (inputs.boxes, inputs.scores, inputs.classes)
    actual = htc_ops.batched_nms(*map(inputs.tensor, arrays), 0.3)
    return actual, nms.batched_nms(*arrays, 0.3)


def _soft_nms(inputs):
    _, actual = htc_ops.soft_nms(inputs.tensor(inputs.boxes), inputs.tensor(inputs.scores))
    return actual, soft_nms.soft_nms(inputs.boxes, inputs.scores)[1]


def _roi_align(inputs):
    count = inputs.tensor(np.int32([len(inputs.boxes)]))
    actual = htc_ops.roi_align(
        inputs.tensor(inputs.maps[0]), inputs.tensor(inputs.boxes), count, 3, 0.25
    )
    return actual, roi_align.roi_align(inputs.maps[0], inputs.boxes, [40], (3, 3), 0.25)


def _multilevel_roi_align(inputs):
    count = inputs.tensor(np.int32([len(inputs.boxes)]))
    options = {"strides": [4, 8], "canonical_size": 16}
    maps = [inputs.tensor(each) for each in inputs.maps]
    actual = htc_ops.multilevel_roi_align(maps, inputs.tensor(inputs.boxes), count, 3, **options)
    expected = roi_align.multilevel_roi_align(inputs.maps, inputs.boxes, [40], (3, 3), **options)
    return actual, expected


def _paste_masks(inputs):
    masks, boxes = inputs.masks, inputs.boxes[:6]
    tensors = inputs.tensor(masks), inputs.tensor(boxes)
    bitmaps, bits = (htc_ops.paste_masks(*tensors, (60, 80), packed=form) for form in (False, True))
    expected = paste_masks.paste_masks(masks, boxes, (60, 80))
    expected = np.concatenate([expected, np.packbits(expected, axis=-1)], axis=-1)
    return paddle.concat([bitmaps, bits], axis=-1), expected


def _paste_masks_rle(inputs):
    masks, boxes = inputs.masks, inputs.boxes[:6]
    tensors = inputs.tensor(masks), inputs.tensor(boxes)
    codes, _ = htc_ops.paste_masks_rle(*tensors, (60, 80), as_tensors=True)
    expected = [
        paste_masks.encode_rle(bitmap) for bitmap in paste_masks.paste_masks(masks, boxes, (60, 80))
    ]
    return codes, np.frombuffer(b"".join(expected), "uint8")


def _mask_targets(inputs):
    index = inputs.classes
    actual = htc_ops.mask_targets(
        inputs.tensor(inputs.boxes), inputs.tensor(inputs.bitmaps), inputs.tensor(index), 7
    )
    return actual, mask_targets.mask_targets(inputs.boxes, inputs.bitmaps, index, (7, 7))


def _polygon_mask_targets(inputs):
    boxes, polygons, index = inputs.boxes, inputs.polygons, inputs.classes
    actual = htc_ops.polygon_mask_targets(inputs.tensor(boxes), polygons, inputs.tensor(index), 7)
    return actual, polygon_mask_targets.polygon_mask_targets(boxes, polygons, index, (7, 7))


# Operator -> its test: inputs -> (what it gives, what it should give).
TESTS = {
    "batched_nms": _batched_nms,
    "conv2d": _conv2d,
    "conv3x3": _conv3x3,
    "decode_boxes": _decode_boxes,
    "encode_boxes": _encode_boxes,
    "mask_logits": _mask_logits,
    "mask_targets": _mask_targets,
    "match_anchors": _match_anchors,
    "max_pool_half": _max_pool_half,
    "multilevel_roi_align": _multilevel_roi_align,
    "nms": _nms,
    "paste_masks": _paste_masks,
    "paste_masks_rle": _paste_masks_rle,
    "polygon_mask_targets": _polygon_mask_targets,
    "resize_like": _resize_like,
    "roi_align": _roi_align,
    "soft_nms": _soft_nms,
}


def run(place) -> dict[str, str | None]:
    """Return for each operator None, or what is wrong with it on `place`."""
    inputs = _Inputs(place)
    return {name: _fault(test, inputs) for name, test in TESTS.items()}


def _fault(test, inputs) -> str | None:
    try:
        actual, expected = test(inputs)
        actual = actual.numpy()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip()}"[:300]
    if actual.shape != expected.shape:
        return f"gives the shape {list(actual.shape)} instead of {list(expected.shape)}"
    worst = np.abs(actual.astype("f8") - expected).max(initial=0)
    return None if worst <= 1e-4 else f"differs from its definition by {worst:.3g}"
