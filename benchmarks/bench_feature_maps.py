"""The passes over feature maps of an HTC R50 at 800 x 1344, against Paddle's: eager, and oneDNN.

Convolutions with what follows them in the network (ReLU, a residual, the coarser level), the pooling
of the backbone, the resizing of the semantic head, and the end of the mask head. Where oneDNN lacks
an operator, Paddle's program is written with those that it has (htc/model/resizing.py).
"""

from functools import partial

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import htc_ops
from htc.model.losses import select_class
from htc.model.resizing import add_resized, upsample2x

CLASSES = 80


class Convolution(paddle.nn.Layer):
    """add: "same": a residual, then ReLU; "half": the coarser level, and no ReLU; "": ReLU."""

    def __init__(self, shape, filters, kernel, stride=1, add=""):
        super().__init__()
        self.shape, self.stride, self.padding, self.add = shape, stride, kernel // 2, add
        self.conv = paddle.nn.Conv2D(shape[1], filters, kernel, stride, self.padding)

    def inputs(self):
        batch, _, height, width = self.shape
        part = 2 if self.add == "half" else 1
        added = [batch, self.conv.weight.shape[0], height // part, width // part]
        return [paddle.randn(self.shape), *([paddle.randn(added)] if self.add else [])]

    def forward(self, x, add=None):
        y = self.conv(x)
        if self.add == "half":
            return y + upsample2x(add)
        return F.relu(y if add is None else y + add)

    def htc_ops(self, x, add=None):
        weight, bias = self.conv.weight, self.conv.bias
        if weight.shape[2] == 3 and self.stride == 1:
            return htc_ops.conv3x3(x, weight, bias, relu=True)
        relu = self.add != "half"
        return htc_ops.conv2d(
            x, weight, bias, add=add, stride=self.stride, padding=self.padding, relu=relu
        )


class MaxPool(paddle.nn.Layer):
    def inputs(self):
        return [paddle.randn([1, 64, 400, 672])]

    def forward(self, x):
        return F.max_pool2d(x, 3, stride=2, padding=1)

    def htc_ops(self, x):
        return htc_ops.max_pool_half(x)


class Resize(paddle.nn.Layer):
    """As the semantic head joins the levels: resized to the finer one, ReLU, added."""

    def inputs(self):
        return [paddle.randn([1, 256, 50, 84]), paddle.randn([1, 256, 100, 168])]

    def forward(self, x, like):
        return add_resized(like, x)

    def htc_ops(self, x, like):
        return htc_ops.resize_like(x, like, relu=True, add=True)


class MaskLogits(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.upsample = paddle.nn.Conv2DTranspose(256, 256, 2, stride=2)
        self.logits = paddle.nn.Conv2D(256, CLASSES, 1)

    def inputs(self):
        return [paddle.randn([100, 256, 14, 14]), paddle.randint(0, CLASSES, [100])]

    def forward(self, features, labels):
        return select_class(self.logits(F.relu(self.upsample(features))), labels)

    def htc_ops(self, features, labels):
        up, last = self.upsample, self.logits
        return htc_ops.mask_logits(features, up.weight, up.bias, last.weight, last.bias, labels)


def convolution(*arguments, **options):
    return partial(Convolution, *arguments, **options)


P2, P3 = (200, 336), (100, 168)
WORK = {
    "3x3 of P2, 256 to 256": convolution([1, 256, *P2], 256, 3),
    "3x3 of P3, 256 to 256": convolution([1, 256, *P3], 256, 3),
    "3x3 of 100 RoIs, 14x14, 256 to 256": convolution([100, 256, 14, 14], 256, 3),
    "3x3 at 200x336, 64 to 64": convolution([1, 64, *P2], 64, 3),
    "3x3 at 200x336, 128 to 128, stride 2": convolution([1, 128, *P2], 128, 3, 2),
    "1x1 at 200x336, 64 to 256, + residual": convolution([1, 64, *P2], 256, 1, add="same"),
    "1x1 at 200x336, 256 to 64": convolution([1, 256, *P2], 64, 1),
    "1x1 at 50x84, 1024 to 256": convolution([1, 1024, 50, 84], 256, 1),
    "1x1 at 200x336, 256 to 256, + coarser": convolution([1, 256, *P2], 256, 1, add="half"),
    "7x7 at 800x1344, 3 to 64, stride 2": convolution([1, 3, 800, 1344], 64, 7, 2),
    "max pooling, 64 channels, 400x672": MaxPool,
    "bilinear resizing + ReLU + sum, 256 channels, 50x84 to P3": Resize,
    "mask logits of 100 RoIs, 80 classes, 14x14 to 28x28": MaskLogits,
}


class Contest:
    def __init__(self, name, folder):
        paddle.seed(0)
        self.name, self.layer = name, WORK[name]()
        self.layer.eval()
        self.inputs = self.layer.inputs()
        self.program = self._inference(folder)

    def _inference(self, folder):
        """The layer as Paddle Inference runs it through oneDNN, its inputs in place."""
        specs = [
            paddle.static.InputSpec([None, *x.shape[1:2], *[None] * (x.ndim - 2)], x.dtype, f"x{i}")
            for i, x in enumerate(self.inputs)
        ]
        paddle.jit.save(self.layer, f"{folder}/layer", input_spec=specs)
        suffix = ".pdmodel" if paddle.__version__.startswith("2.") else ".json"
        settings = paddle.inference.Config(f"{folder}/layer{suffix}", f"{folder}/layer.pdiparams")
        settings.disable_gpu()
        settings.disable_glog_info()
        settings.enable_mkldnn()
        settings.set_cpu_math_library_num_threads(htc_ops.get_num_threads())
        program = paddle.inference.create_predictor(settings)
        for i, x in enumerate(self.inputs):
            program.get_input_handle(f"x{i}").copy_from_cpu(x.numpy())
        return program

    def htc_ops(self):
        return self.layer.htc_ops(*self.inputs)

    @paddle.no_grad()
    def paddle(self):
        return self.layer(*self.inputs)

    def paddle_inference(self):
        self.program.run()

    def check(self):
        expected = self.paddle().numpy()
        self.paddle_inference()
        (output,) = self.program.get_output_names()
        rounding = 2e-5 * np.abs(expected).max()  # Winograd's, ten times that of a direct sum
        for result in (
            self.htc_ops().numpy(),
            self.program.get_output_handle(output).copy_to_cpu(),
        ):
            np.testing.assert_allclose(result, expected, rtol=0, atol=rounding)


@pytest.fixture(scope="module", params=WORK)
def contest(request, tmp_path_factory):
    paddle.set_device("cpu")
    result = Contest(request.param, tmp_path_factory.mktemp("program"))
    result.check()
    return result


@pytest.mark.parametrize("which", ["htc_ops", "paddle", "paddle_inference"])
def test_feature_maps(benchmark, contest, which):
    benchmark.group = contest.name
    rounds = 20 if which == "htc_ops" else 8
    benchmark.pedantic(getattr(contest, which), rounds=rounds, warmup_rounds=2)
