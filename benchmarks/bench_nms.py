"""NMS against Paddle's, which has one class a loop turn for class-wise suppression.

Boxes: `proposals` of tests/ops/cases/nms.py (two thirds of them around things, the rest anywhere in
a picture of 800 x 1333); uniform ones; the levels of a feature pyramid.
"""

import numpy as np
import paddle
import pytest
from cases import nms as cases

import htc_ops

SIZES = [2000, 5000]


def tensors(*arrays):
    return [paddle.to_tensor(array) for array in arrays]


def uniform(count):
    random = np.random.default_rng(0)
    corner = random.uniform(0, 1000, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(10, 100, (count, 2))], axis=1)
    return boxes.astype("float32"), cases.proposals(count)[1]


def run(benchmark, call, peer=None, rounds=60):
    if peer is not None:
        np.testing.assert_array_equal(call().numpy(), peer().numpy())
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=2)


IMPLEMENTATIONS = ["htc_ops", "paddle"]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("inputs", [cases.proposals, uniform], ids=["clustered", "uniform"])
def test_nms(benchmark, inputs, count, implementation):
    benchmark.group = f"NMS 0.5, {count} {'uniform' if inputs is uniform else 'clustered'} boxes"
    boxes, scores = tensors(*inputs(count))

    def ours():
        return htc_ops.nms(boxes, scores, 0.5)

    def paddles():
        return paddle.vision.ops.nms(boxes, 0.5, scores)

    if implementation == "htc_ops":
        run(benchmark, ours, paddles)
    else:
        run(benchmark, paddles, rounds=15)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_batched_nms(benchmark, implementation):
    benchmark.group = "class-wise NMS 0.5, 2000 boxes, 80 classes"
    boxes, scores, class_ids = tensors(*cases.detections(2000, 80))
    classes = list(range(80))

    def ours():
        return htc_ops.batched_nms(boxes, scores, class_ids, 0.5)

    def paddles():
        return paddle.vision.ops.nms(boxes, 0.5, scores, class_ids, classes)

    if implementation == "htc_ops":
        run(benchmark, ours, paddles)
    else:
        run(benchmark, paddles, rounds=15)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_proposals_of_a_pyramid(benchmark, implementation):
    benchmark.group = "level-wise NMS 0.7, 4819 proposals, 5 levels, best 1000"
    boxes, scores, levels = tensors(*cases.pyramid_proposals())

    def ours():
        return htc_ops.batched_nms(boxes, scores, levels, 0.7, 1000)

    def paddles():
        return paddle.vision.ops.nms(boxes, 0.7, scores, levels, list(range(5)), 1000)

    if implementation == "htc_ops":
        run(benchmark, ours, paddles)
    else:
        run(benchmark, paddles, rounds=15)


LARGE = {
    "clustered": lambda: cases.proposals(100_000),
    "disjoint": lambda: cases.grid_boxes(100_000),
    "identical": lambda: (np.tile(np.float32([[5, 5, 9, 9]]), (100_000, 1)), uniform(100_000)[1]),
}


@pytest.mark.parametrize("kind", LARGE)
def test_htc_ops_on_many_boxes(benchmark, kind):
    """Paddle's takes minutes here; what is kept is checked in tests/ops/test_nms.py."""
    benchmark.group = f"NMS 0.5, 100000 {kind} boxes"
    boxes, scores = tensors(*LARGE[kind]())
    run(benchmark, lambda: htc_ops.nms(boxes, scores, 0.5), rounds=8)
