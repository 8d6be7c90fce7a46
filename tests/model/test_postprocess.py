"""Choice of detections and the way back to the original picture, against sums done by hand."""

from __future__ import annotations

import numpy as np
import paddle

from htc.config import load_config
from htc.config.schema import TestConfig
from htc.model.anchors import base_anchors, grid_anchors
from htc.model.postprocess import Detections, select_detections, to_original


def select(boxes, probs, boxes_num, **config):
    """select_detections with the spare row added, and cut off again."""
    boxes = paddle.to_tensor([*boxes, [0] * len(boxes[0])], dtype="float32")
    probs = paddle.to_tensor([*probs, [1.0] * len(probs[0])], dtype="float32")
    boxes_num = [*boxes_num[:-1], boxes_num[-1] + 1]
    found = select_detections(
        boxes, probs, paddle.to_tensor(boxes_num, dtype="int32"), TestConfig(**config)
    )
    counts = found.boxes_num.tolist()
    counts[-1] -= 1
    columns = (found.boxes[:-1], found.scores[:-1], found.classes[:-1])
    return [column.tolist() for column in columns] + [counts]


def test_threshold_class_wise_nms_and_limit():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]]
    probs = [[0.5, 0.25, 0.25], [0.375, 0.125, 0.5], [0.0625, 0.75, 0.1875]]
    found = select(boxes, probs, [3], score_threshold=0.125)
    # Row 1 overlaps row 0 in class 0, and at 0.125 is not above the threshold in class 1.
    assert found[0] == [boxes[2], boxes[0], boxes[0]]
    assert found[1] == [0.75, 0.5, 0.25]
    assert found[2] == [1, 0, 1] and found[3] == [3]
    assert select(boxes, probs, [3], score_threshold=0.125, max_detections=2)[3] == [2]


def test_pictures_do_not_suppress_each_other():
    boxes = [[0, 0, 10, 10]] * 4
    probs = [[0.5, 0.5], [0.25, 0.75], [0.75, 0.25], [0.625, 0.375]]
    assert select(boxes, probs, [2, 2])[1] == [0.5, 0.75]
    assert select(boxes, probs, [2, 2])[3] == [1, 1]
    assert select(boxes, probs, [0, 4, 0])[1:] == [[0.75], [0], [0, 1, 0]]
    assert select(boxes, probs, [4, 0], max_detections=1, nms_iou=1.0)[3] == [1, 0]


def test_one_box_a_class():
    boxes = [[0, 0, 10, 10, 20, 20, 30, 30]]
    found = select(boxes, [[0.25, 0.5, 0.25]], [1])
    assert found[0] == [[20, 20, 30, 30], [0, 0, 10, 10]] and found[2] == [1, 0]


def test_nothing_above_the_threshold():
    assert select([[0, 0, 1, 1]], [[0.5, 0.5]], [1], score_threshold=0.5) == [[], [], [], [0]]


def test_back_to_the_original_picture():
    detections = Detections(
        paddle.to_tensor([[2.0, 4, 6, 8], [10, 20, 30, 40], [1, 2, 3, 4]]),
        paddle.to_tensor([0.9, 0.8, 0.7]),
        paddle.to_tensor([1, 2, 3]),
        paddle.to_tensor([1, 0, 2], dtype="int32"),
        paddle.rand([3, 28, 28]),
    )
    first, second, third = to_original(detections, [(2.0, 4.0), (1.0, 1.0), (0.5, 1.0)])
    assert first.boxes.tolist() == [[1, 1, 3, 2]] and first.labels.tolist() == [1]
    assert second.boxes.shape == [0, 4] and second.boxes_num.tolist() == [0]
    assert third.boxes.tolist() == [[20, 20, 60, 40], [2, 2, 6, 4]]
    np.testing.assert_array_equal(third.mask_probs.numpy(), detections.mask_probs.numpy()[1:])


def test_anchors_have_their_area_ratio_and_order():
    config = load_config("htc_r50_fpn_1x_coco").model.anchors
    for level, stride in enumerate(config.strides):
        anchors = grid_anchors(2, 3, config, level).numpy()
        assert anchors.shape == (2 * 3 * 3, 4)
        widths, heights = (anchors[:, 2:] - anchors[:, :2]).T
        np.testing.assert_allclose(widths * heights, (8 * stride) ** 2, rtol=1e-5)
        np.testing.assert_allclose(heights / widths, [0.5, 1, 2] * 6, rtol=1e-5)
        centres = (anchors[:, 2:] + anchors[:, :2]) / 2
        cells = [[x * stride, y * stride] for y in range(2) for x in range(3) for _ in range(3)]
        np.testing.assert_allclose(centres, cells, atol=1e-4)
    assert base_anchors(4, 8, (1.0,), "float64").dtype == np.float64
