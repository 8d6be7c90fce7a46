"""Soft NMS. Paddle has none: the peer is its best composition on the CPU, one pass a kept box."""

import numpy as np
import paddle
import pytest
from cases import nms as cases

import htc_ops
from htc_ops.reference import soft_nms as oracle


def composition(boxes, scores, method, iou_threshold=0.3, sigma=0.5, min_score=1e-3):
    """Soft NMS in vectorised Paddle operators: [N, N] IoU once, then one row a kept box."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low = paddle.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = paddle.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = (high - low).clip(min=0).prod(axis=-1)
    iou = overlap / (area[:, None] + area[None] - overlap).clip(min=1e-6)
    if method == "linear":
        weights = paddle.where(iou > iou_threshold, 1 - iou, paddle.ones_like(iou))
    else:
        weights = paddle.exp(-(iou * iou) / sigma)
    kept, new_scores = [], []
    while True:
        best = int(scores.argmax())
        score = float(scores[best])
        if score < min_score:
            return np.array(kept, "int64"), np.array(new_scores, "float32")
        kept.append(best)
        new_scores.append(score)
        scores = scores * weights[best]
        scores[best] = -1.0


@pytest.mark.parametrize("implementation", ["htc_ops", "paddle_composition"])
@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms(benchmark, method, implementation):
    benchmark.group = f"soft NMS, {method}, 2000 boxes"
    arrays = cases.proposals(2000)
    boxes, scores = (paddle.to_tensor(array) for array in arrays)
    if implementation == "htc_ops":
        kept, new_scores = htc_ops.soft_nms(boxes, scores, method=method)
        expected = oracle.soft_nms(*arrays, method=method)
        np.testing.assert_array_equal(kept.numpy(), expected[0])
        np.testing.assert_array_equal(new_scores.numpy(), expected[1])
        benchmark.pedantic(
            htc_ops.soft_nms, (boxes, scores), {"method": method}, rounds=40, warmup_rounds=2
        )
    else:
        benchmark.pedantic(composition, (boxes, scores, method), rounds=2)


@pytest.mark.parametrize("count", [100, 5000])
@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_htc_ops_by_size(benchmark, method, count):
    """Equality at these sizes: tests/ops/test_soft_nms.py."""
    benchmark.group = f"soft NMS, {method}, {count} boxes"
    boxes, scores = (paddle.to_tensor(array) for array in cases.proposals(count))
    benchmark.pedantic(
        htc_ops.soft_nms, (boxes, scores), {"method": method}, rounds=20, warmup_rounds=2
    )
