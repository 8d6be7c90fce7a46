"""RoIAlign over an FPN of 256 channels for a picture of 800 x 1333, against Paddle's own.

Paddle has no operator for a pyramid: its bar is one roi_align a level on boxes sorted by level
beforehand, and a gather that puts the results back in order.
"""

import numpy as np
import paddle
import pytest
from cases.roi_align import STRIDES, boxes_in_picture, feature_pyramid

import htc_ops
from htc_ops.reference.roi_align import levels

WORK = {"1000 boxes -> 7x7": (1000, 7), "100 boxes -> 14x14": (100, 14)}


class Work:
    def __init__(self, count, output_size):
        self.features = [paddle.to_tensor(f) for f in feature_pyramid()]
        boxes = boxes_in_picture(count)
        self.boxes = paddle.to_tensor(boxes)
        self.boxes_num = paddle.to_tensor([count], "int32")
        self.output_size = output_size
        level = levels(boxes, len(STRIDES))
        order = [np.flatnonzero(level == number) for number in range(len(STRIDES))]
        self.boxes_of_level = [paddle.to_tensor(boxes[chosen]) for chosen in order]
        self.num_of_level = [paddle.to_tensor([len(chosen)], "int32") for chosen in order]
        self.back = paddle.to_tensor(np.argsort(np.concatenate(order)))

    def htc_ops(self):
        return htc_ops.multilevel_roi_align(
            self.features, self.boxes, self.boxes_num, self.output_size, STRIDES
        )

    def level_by_level(self, operator):
        return [
            operator(feature, boxes, number, self.output_size, 1 / stride)
            for feature, boxes, number, stride in zip(
                self.features, self.boxes_of_level, self.num_of_level, STRIDES, strict=True
            )
        ]

    def four_levels(self):
        return self.level_by_level(htc_ops.roi_align)

    def paddle(self):
        parts = self.level_by_level(paddle.vision.ops.roi_align)
        return paddle.gather(paddle.concat(parts), self.back)

    def gradients(self, forward, sent):
        return paddle.grad(forward(), self.features, sent)


@pytest.fixture(scope="module", params=WORK, ids=WORK.keys())
def work(request):
    paddle.set_device("cpu")
    result = Work(*WORK[request.param])
    result.name = request.param
    return result


@pytest.mark.parametrize("which", ["htc_ops", "paddle"])
def test_forward(benchmark, work, which):
    benchmark.group = f"RoIAlign forward, {work.name}"
    np.testing.assert_allclose(work.htc_ops().numpy(), work.paddle().numpy(), rtol=0, atol=1e-5)
    rounds = 50 if which == "htc_ops" else 8
    benchmark.pedantic(getattr(work, which), rounds=rounds, warmup_rounds=2)


@pytest.mark.parametrize("which", ["htc_ops", "four_levels"])
def test_against_single_levels(benchmark, work, which):
    benchmark.group = f"multilevel_roi_align against roi_align level by level, {work.name}"
    parts = paddle.gather(paddle.concat(work.four_levels()), work.back)
    np.testing.assert_array_equal(work.htc_ops().numpy(), parts.numpy())
    benchmark.pedantic(getattr(work, which), rounds=50, warmup_rounds=2)


@pytest.mark.parametrize("which", ["htc_ops", "paddle"])
def test_forward_and_backward(benchmark, work, which):
    benchmark.group = f"RoIAlign forward and backward, {work.name}"
    for feature in work.features:
        feature.stop_gradient = False
    sent = paddle.to_tensor(
        np.random.default_rng(1).standard_normal(work.htc_ops().shape, "float32")
    )
    ours, theirs = (work.gradients(f, sent) for f in (work.htc_ops, work.paddle))
    for actual, expected in zip(ours, theirs, strict=True):
        # Paddle's gradient rounds coordinates (up to 333 px) in another order than its forward,
        # 3e-5 px, and widens boxes that are clipped to less than a pixel: looked at by norm.
        distance = float((actual - expected).norm() / expected.norm())
        assert distance < 1e-4
    rounds = 20 if which == "htc_ops" else 4
    benchmark.pedantic(work.gradients, (getattr(work, which), sent), rounds=rounds, warmup_rounds=1)
    for feature in work.features:
        feature.stop_gradient = True
