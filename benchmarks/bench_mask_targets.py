"""Mask targets of 128 positive boxes from 20 bitmaps of 800 x 1333, against Paddle's RoIAlign."""

import numpy as np
import paddle
import pytest
from cases import masks as cases

import htc_ops

SIZE = 28


@pytest.fixture(scope="module")
def work():
    paddle.set_device("cpu")
    boxes, bitmaps, gt_index = cases.positives(128, 20)
    order = np.argsort(gt_index, kind="stable")  # Paddle takes the boxes picture by picture
    arrays = boxes[order], bitmaps, gt_index[order]
    return tuple(map(paddle.to_tensor, arrays))


def in_htc_ops(boxes, bitmaps, gt_index):
    return htc_ops.mask_targets(boxes, bitmaps, gt_index, SIZE)


def in_paddle(boxes, bitmaps, gt_index):
    count = paddle.bincount(gt_index, minlength=len(bitmaps)).astype("int32")
    pictures = bitmaps.unsqueeze(1).astype("float32")
    cropped = paddle.vision.ops.roi_align(pictures, boxes, count, SIZE, 1.0, -1, True)
    return (cropped[:, 0] >= 0.5).astype("float32")


ROUNDS = {in_htc_ops: 50, in_paddle: 8}


@pytest.mark.parametrize("function", ROUNDS)
def test_mask_targets(benchmark, work, function):
    benchmark.group = "mask_targets: 128 boxes, 20 bitmaps 800x1333, to 28x28"
    # Means of a bin that lie within rounding of 0.5 may fall either way.
    assert (function(*work) != in_htc_ops(*work)).astype("float32").mean() < 1e-4
    benchmark.pedantic(function, work, rounds=ROUNDS[function], warmup_rounds=1)
