"""What is timed: the sizes of a detector (800 x 1333 pictures), one picture and sixteen.

A measurement gives the name, the inputs, the operator, its peer or None, the least bytes that must
move (every input read once, every result written once), and for those that compute rather than
move, their number of box pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import oracles
import peers
import torch

SIZE = (800, 1333)
HALVES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass
class Measurement:
    name: str
    inputs: list
    run: object
    peer: object
    bytes: float
    pairs: float = 0.0


def _put(array, dtype=None):
    tensor = torch.from_numpy(np.ascontiguousarray(array)).cuda()
    return tensor if dtype is None else tensor.to(dtype)


def _bytes(*tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def all_measurements(ops):
    """A generator, so that only one measurement's inputs are in memory at a time."""
    for pictures in (1, 16):
        yield from _roi_align(ops, pictures)
    yield from _nms(ops)
    for pictures in (1, 16):
        yield from _matching(ops, pictures)
        yield from _masks(ops, pictures)
    yield from _codec(ops)


def _roi_align(ops, pictures):
    case = oracles.cases("roi_align")
    shapes = [
        (pictures, 256, -(-SIZE[0] // stride), -(-SIZE[1] // stride)) for stride in case.STRIDES
    ]
    scales = [1 / stride for stride in case.STRIDES]
    for count, pooled in ((1000, (7, 7)), (100, (14, 14))):
        boxes = _put(
            np.concatenate([case.boxes_in_picture(count, seed=i) for i in range(pictures)])
        )
        boxes_num = torch.full([pictures], count, device="cuda")
        for dtype in HALVES:
            maps = [torch.randn(shape, device="cuda").to(dtype) for shape in shapes]
            rois = peers.batch_index(boxes, boxes_num).to(dtype)
            grad = torch.randn(len(boxes), 256, *pooled, device="cuda").to(dtype)
            name = f"{pictures} x {count} boxes to {pooled[0]}x{pooled[1]}, {str(dtype)[6:]}"

            def forward(boxes, *maps, boxes_num=boxes_num, pooled=pooled):
                return ops.roi_align(list(maps), boxes, boxes_num, pooled, scales)

            def forward_peer(boxes, *maps, rois=rois, pooled=pooled):
                return peers.roi_align(list(maps), rois, pooled, scales)

            yield Measurement(
                f"RoIAlign, {name}",
                [boxes, *maps],
                forward,
                forward_peer,
                _bytes(boxes, grad, *maps),
            )
            traffic = _bytes(boxes, grad, *maps)
            del maps

            def backward(grad, boxes, boxes_num=boxes_num):
                return ops.roi_align_grad(grad, shapes, boxes, boxes_num, scales)

            def backward_peer(grad, boxes, rois=rois):
                return peers.roi_align_grad(grad, shapes, rois, scales)

            def backward_atomic(grad, boxes, boxes_num=boxes_num):
                return ops.roi_align_grad_atomic(grad, shapes, boxes, boxes_num, scales)

            yield Measurement(
                f"RoIAlign gradient, {name}", [grad, boxes], backward, backward_peer, traffic
            )
            # Is an option with atomics worth it? The peer is the operator, in its fixed order.
            yield Measurement(
                f"RoIAlign gradient by atomics, {name}",
                [grad, boxes],
                backward_atomic,
                backward,
                traffic,
            )


def _nms(ops):
    case = oracles.cases("nms")
    for count in (2000, 5000, 10000):
        boxes, scores = map(_put, case.proposals(count))

        def run(boxes, scores):
            return ops.nms_on_device(boxes, scores, None, 0.7)

        yield Measurement(
            f"NMS, {count} boxes",
            [boxes, scores],
            run,
            partial(peers.nms, threshold=0.7),
            _bytes(boxes, scores),
            count * (count - 1) / 2,
        )
    for pictures in (1, 16):
        parts = [case.detections(2000, 80, seed=i) for i in range(pictures)]
        boxes, scores = (np.concatenate([part[i] for part in parts]) for i in range(2))
        ids = np.concatenate([part[2] + 80 * i for i, part in enumerate(parts)])
        inputs = [_put(boxes), _put(scores), _put(ids)]

        def run(boxes, scores, ids):
            return ops.nms_on_device(boxes, scores, ids, 0.5)

        yield Measurement(
            f"NMS, {pictures} x 2000 boxes of 80 classes",
            inputs,
            run,
            partial(peers.batched_nms, threshold=0.5),
            _bytes(*inputs),
            len(boxes) * (len(boxes) - 1) / 2,
        )
    boxes, scores = map(_put, case.proposals(2000))
    yield Measurement(
        "soft-NMS, 2000 boxes",
        [boxes, scores],
        partial(ops.soft_nms, method="linear"),
        None,
        _bytes(boxes, scores),
    )


def _matching(ops, pictures):
    case = oracles.cases("match_anchors")
    anchors = _put(case.anchors())
    gts = [_put(case.boxes(20, seed=i)) for i in range(pictures)]
    rule = (0.7, 0.3, 0.3)

    def run(anchors):
        return [ops.match_anchors(anchors, gt, *rule) for gt in gts]

    def peer(anchors):
        return [peers.match_anchors(anchors, gt, *rule) for gt in gts]

    yield Measurement(
        f"anchor matching, {pictures} x {len(anchors)} anchors, 20 ground truths",
        [anchors],
        run,
        peer,
        pictures * (_bytes(anchors) + 12 * len(anchors)),
        pictures * len(anchors) * 20.0,
    )


def _masks(ops, pictures):
    case = oracles.cases("masks")
    masks, boxes = case.detections(100)
    masks, boxes = _put(masks).repeat(pictures, 1, 1), _put(boxes.astype("f8")).repeat(pictures, 1)
    name = f"{pictures} x 100 masks 28x28 to {SIZE[0]}x{SIZE[1]}"
    yield Measurement(
        f"paste to uint8, {name}",
        [masks, boxes],
        partial(ops.paste_masks, size=SIZE),
        partial(peers.paste_masks, size=SIZE),
        _bytes(masks, boxes) + len(masks) * SIZE[0] * SIZE[1],
    )
    yield Measurement(
        f"paste to packed bits, {name}",
        [masks, boxes],
        partial(ops.paste_masks, size=SIZE, packed=True),
        partial(peers.paste_masks_packed, size=SIZE),
        _bytes(masks, boxes) + len(masks) * SIZE[0] * ((SIZE[1] + 7) // 8),
    )
    yield Measurement(
        f"paste to run-length codes, {name}",
        [masks, boxes],
        partial(ops.paste_masks_rle, size=SIZE),
        partial(peers.paste_masks, size=SIZE),  # and that is not coded yet
        _bytes(masks, boxes),
    )
    if pictures > 1:
        return
    inputs = list(map(_put, case.positives(128, 20)))
    yield Measurement(
        "mask targets, 128 boxes from 20 bitmaps to 28x28",
        inputs,
        partial(ops.mask_targets, size=(28, 28)),
        partial(peers.mask_targets, size=(28, 28)),
        _bytes(inputs[0], inputs[1]) + 128 * 28 * 28 * 4,
    )


def _codec(ops):
    boxes, deltas = map(_put, oracles.cases("box_codec").boxes_and_deltas(267069))
    yield Measurement(
        "decode 267069 boxes",
        [boxes, deltas],
        ops.decode_boxes,
        peers.decode_boxes,
        _bytes(boxes, deltas, deltas),
    )
