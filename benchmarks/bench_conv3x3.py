"""3x3 convolutions of an HTC R50 at 800 x 1344, against Paddle's own: eager, and through oneDNN."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import htc_ops

WORK = {
    "P2, 256 channels, 200x336": (1, 256, 200, 336),
    "P3, 256 channels, 100x168": (1, 256, 100, 168),
    "100 RoIs, 256 channels, 14x14": (100, 256, 14, 14),
    "64 channels, 200x336": (1, 64, 200, 336),
}


class Convolution(paddle.nn.Layer):
    """With ReLU, as the heads have it; in a program oneDNN runs both in one."""

    def __init__(self, channels):
        super().__init__()
        self.conv = paddle.nn.Conv2D(channels, channels, 3, padding=1)

    def forward(self, x):
        return F.relu(self.conv(x))


class Work:
    def __init__(self, shape, folder):
        paddle.seed(0)
        self.x = paddle.randn(shape)
        self.layer = Convolution(shape[1])
        self.layer.eval()
        spec = paddle.static.InputSpec([None, shape[1], None, None], "float32", "x")
        paddle.jit.save(self.layer, f"{folder}/conv", input_spec=[spec])
        suffix = ".pdmodel" if paddle.__version__.startswith("2.") else ".json"
        settings = paddle.inference.Config(f"{folder}/conv{suffix}", f"{folder}/conv.pdiparams")
        settings.disable_gpu()
        settings.disable_glog_info()
        settings.enable_mkldnn()
        settings.set_cpu_math_library_num_threads(htc_ops.get_num_threads())
        self.program = paddle.inference.create_predictor(settings)
        self.program.get_input_handle("x").copy_from_cpu(self.x.numpy())
        self.program.run()

    def htc_ops(self):
        return htc_ops.conv3x3(self.x, self.layer.conv.weight, self.layer.conv.bias, relu=True)

    @paddle.no_grad()
    def paddle(self):
        return self.layer(self.x)

    def paddle_inference(self):
        self.program.run()  # through oneDNN; the input lies there already


@pytest.fixture(scope="module", params=WORK, ids=WORK.keys())
def work(request, tmp_path_factory):
    paddle.set_device("cpu")
    result = Work(WORK[request.param], tmp_path_factory.mktemp("program"))
    result.name = request.param
    return result


@pytest.mark.parametrize("which", ["htc_ops", "paddle", "paddle_inference"])
def test_conv3x3(benchmark, work, which):
    benchmark.group = f"conv3x3 and ReLU: {work.name}"
    expected = work.paddle().numpy()
    rounding = 2e-5 * expected.max()  # Winograd's, ten times that of a direct sum
    np.testing.assert_allclose(work.htc_ops().numpy(), expected, rtol=0, atol=rounding)
    rounds = 20 if which == "htc_ops" else 8
    benchmark.pedantic(getattr(work, which), rounds=rounds, warmup_rounds=2)
