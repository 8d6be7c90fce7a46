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
    area = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    gt_area = (gts[:, 2] - gts[:, 0]) * (gts[:, 3] - gts[:, 1])
    low = paddle.maximum(anchors[:, None, :2], gts[None, :, :2])
    high = paddle.minimum(anchors[:, None, 2:], gts[None, :, 2:])
    side = paddle.clip(high - low, min=0)  # [A, G, 2]
    overlap = side[:, :, 0] * side[:, :, 1]
    iou = overlap / paddle.clip(area[:, None] + gt_area - overlap, min=1e-6)  # [A, G]
    max_iou, index = iou.max(axis=1), iou.argmax(axis=1)
    matched = paddle.full_like(index, -2)
    matched = paddle.where(max_iou < negative, paddle.full_like(index, -1), matched)
    matched = paddle.where(max_iou >= positive, index, matched)
    best = iou.max(axis=0)  # [G]
    takes = (iou == best) & (best >= min_positive)
    last = (takes.astype("int64") * paddle.arange(1, len(gts) + 1)).max(axis=1) - 1
    return paddle.where(last >= 0, last, matched), max_iou


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
    rounds = 100 if name == "htc_ops" else 8
    benchmark.pedantic(
        function, (boxes, gts, *thresholds), rounds=rounds, iterations=1, warmup_rounds=2
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
