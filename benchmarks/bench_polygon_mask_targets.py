"""Mask targets of 128 positive boxes from 20 polygons, against pycocotools box by box."""

import numpy as np
import paddle
import pytest
from cases.polygons import positive_polygons, with_pycocotools

import htc_ops

SIZE = 28


@pytest.fixture(scope="module")
def work():
    paddle.set_device("cpu")
    return positive_polygons(128, 20)


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
