"""Mask targets of 128 positive boxes from 20 polygons, against pycocotools box by box."""

import numpy as np
import paddle
import pytest
from cases.masks import positives

import htc_ops
from htc_ops.reference.polygon_mask_targets import polygon_mask_targets as with_pycocotools

SIZE = 28


@pytest.fixture(scope="module")
def work():
    paddle.set_device("cpu")
    boxes, _, gt_index = positives(128, 20)
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polygons = []
    for gt in range(20):
        x1, y1, x2, y2 = (
            boxes[gt_index == gt][0].tolist() if (gt_index == gt).any() else (0, 0, 9, 9)
        )
        radius = random.uniform(0.6, 1, angles.shape)
        x = (x1 + x2) / 2 + (x2 - x1) / 2 * radius * np.cos(angles)
        y = (y1 + y2) / 2 + (y2 - y1) / 2 * radius * np.sin(angles)
        polygons.append([np.stack([x, y], 1).reshape(-1).tolist()])
    return boxes, polygons, gt_index


@pytest.mark.parametrize("name", ["htc_ops", "pycocotools"])
def test_polygon_mask_targets(benchmark, work, name):
    benchmark.group = "polygon_mask_targets: 128 boxes, 20 polygons of 40 points, to 28x28"
    boxes, polygons, gt_index = work
    expected = with_pycocotools(*work, (SIZE, SIZE))
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(gt_index)

    def in_htc_ops():
        return htc_ops.polygon_mask_targets(tensors[0], polygons, tensors[1], SIZE)

    def in_pycocotools():
        return with_pycocotools(*work, (SIZE, SIZE))

    np.testing.assert_array_equal(in_htc_ops().numpy(), expected)
    function = in_htc_ops if name == "htc_ops" else in_pycocotools
    benchmark.pedantic(function, rounds=20, warmup_rounds=1)
