"""Matching of anchors and of proposals, against a composition of Paddle's own operators."""

import numpy as np
import paddle
import pytest
from cases import match_anchors as cases

import htc_ops
from htc_ops.reference import match_anchors as oracle

RPN, BOX_STAGE = (0.7, 0.3, 0.3), (0.5, 0.5, 0.5)
SIZES = [("anchors", 267_069, 20), ("anchors", 267_069, 100), ("proposals", 2000, 20)]


def inputs(kind, count, num_gts):
    gts = cases.boxes(num_gts)
    boxes = cases.anchors() if kind == "anchors" else cases.proposals(count, gts)
    assert len(boxes) == count
    return boxes, gts


def paddle_composition(anchors, gts, positive, negative, min_positive):
    """The same rule as a Paddle user writes it; ties of low-quality matches go to the last too."""
    # Ground truths first: Paddle reduces along the first axis tens of times faster.
    x1, y1, x2, y2 = anchors.unbind(1)  # [A]
    gx1, gy1, gx2, gy2 = gts.split(4, axis=1)  # [G, 1]
    width = paddle.clip(paddle.minimum(x2, gx2) - paddle.maximum(x1, gx1), min=0)  # [G, A]
    height = paddle.clip(paddle.minimum(y2, gy2) - paddle.maximum(y1, gy1), min=0)
    overlap = width * height
    union = (x2 - x1) * (y2 - y1) + (gx2 - gx1) * (gy2 - gy1) - overlap
    iou = overlap / paddle.clip(union, min=1e-6)
    max_iou, index = iou.max(axis=0), iou.argmax(axis=0)
    matched = paddle.full_like(index, -2)
    matched = paddle.where(max_iou < negative, paddle.full_like(index, -1), matched)
    matched = paddle.where(max_iou >= positive, index, matched)
    best = iou.max(axis=1, keepdim=True)  # [G, 1]
    takes = paddle.nonzero((iou == best) & (best >= min_positive)).numpy()  # few rows: gt, anchor
    last = dict(takes[:, ::-1].tolist())  # of an anchor's ground truths
    anchors_taken = paddle.to_tensor(list(last), dtype="int64")
    return paddle.scatter(matched, anchors_taken, paddle.to_tensor(list(last.values()))), max_iou


@pytest.mark.parametrize(("kind", "count", "num_gts"), SIZES)
@pytest.mark.parametrize("name", ["htc_ops", "paddle"])
def test_match(benchmark, name, kind, count, num_gts):
    benchmark.group = f"match_anchors: {count:,} {kind} x {num_gts} ground truths"
    thresholds = RPN if kind == "anchors" else BOX_STAGE
    arrays = inputs(kind, count, num_gts)
    boxes, gts = map(paddle.to_tensor, arrays)
    function = htc_ops.match_anchors if name == "htc_ops" else paddle_composition
    matched, max_iou = function(boxes, gts, *thresholds)
    expected, expected_iou = oracle.match_anchors(*arrays, *thresholds)
    np.testing.assert_array_equal(matched.numpy(), expected)
    np.testing.assert_array_equal(max_iou.numpy(), expected_iou)
    rounds = 100 if name == "htc_ops" else 5
    benchmark.pedantic(
        function, (boxes, gts, *thresholds), rounds=rounds, iterations=1, warmup_rounds=1
    )


@pytest.mark.parametrize(("count", "num_gts"), [(512, 1000), (2000, 1000), (267_069, 1000)])
def test_many_ground_truths(benchmark, count, num_gts):
    """Sizes whose matrix Paddle would need up to several GB for."""
    benchmark.group = f"match_anchors: {count:,} boxes x {num_gts:,} ground truths"
    benchmark.name = f"{benchmark.name}[htc_ops]"
    kind = "anchors" if count > 100_000 else "proposals"
    boxes, gts = map(paddle.to_tensor, inputs(kind, count, num_gts))
    benchmark.pedantic(htc_ops.match_anchors, (boxes, gts, *RPN), rounds=30, warmup_rounds=2)


def test_limit_copy(benchmark):
    """The least that memory allows: reading the anchors and writing both results, 7.5 MB."""
    benchmark.group = "match_anchors: 267,069 anchors x 20 ground truths"
    anchors = cases.anchors()
    matched, max_iou = np.zeros(len(anchors), "int64"), np.zeros(len(anchors), "float32")

    def touch():
        max_iou[:] = anchors.reshape(4, -1)[0]
        anchors.max()
        matched.fill(-1)

    benchmark.pedantic(touch, rounds=50, warmup_rounds=2)
