"""Where oneDNN's layouts meet operators that do not know them: in Paddle Inference as eagerly.

Paddle Inference keeps what a convolution makes in a layout of oneDNN's, and hands that on to some
operators as if it were plain: they then read shuffled numbers, silently. Each case puts a
convolution in front of what the network has there.
"""

from __future__ import annotations

import numpy as np
import paddle
import pytest

import htc_ops
from htc.model import resizing
from htc.model.boxes import dim
from htc_ops._library import program_that_only_predicts

BOXES = [[2.0, 3.0, 30.0, 20.0], [0.0, 0.0, 40.0, 28.0], [10.0, 8.0, 12.0, 9.0]]


def resized(x):
    return resizing.resize_like(x, x[:, :, ::2, ::2])


def upsampled(x):
    return resizing.upsample2x(x) * 2


def pooled(x):
    boxes = paddle.to_tensor(BOXES)
    count = paddle.to_tensor([len(BOXES)], dtype="int32")
    return htc_ops.multilevel_roi_align([resizing.plain(x)], boxes, count, 7, [1.0])


def averaged(x):
    boxes = paddle.to_tensor(BOXES)
    count = paddle.to_tensor([len(BOXES)], dtype="int32")
    return htc_ops.roi_align(resizing.plain(x), boxes, count, 7, average=2)


def unprotected(x):
    """resize's product of matrices without its copy to the plain layout."""
    return paddle.matmul(x, paddle.eye(dim(x, 3)), transpose_y=True)


class AfterConvolution(paddle.nn.Layer):
    """A step of the network behind a 3x3 convolution to 32 channels."""

    def __init__(self, step):
        super().__init__()
        paddle.seed(1)
        self.conv, self.step = paddle.nn.Conv2D(3, 32, 3, padding=1), step

    def forward(self, x):
        return paddle.nn.functional.relu(self.step(paddle.nn.functional.relu(self.conv(x))))


def difference(step, folder) -> float:
    """Largest one between Paddle Inference and the eager layer."""
    paddle.seed(0)
    x = paddle.randn([1, 3, 28, 40])
    layer = AfterConvolution(step)
    layer.eval()
    with paddle.no_grad():
        expected = layer(x).numpy()
    path = str(folder / "layer")
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32", "x")]
    paddle.jit.save(AfterConvolution(step), path, input_spec=spec)
    (program,) = (p for p in folder.iterdir() if p.suffix in (".json", ".pdmodel"))
    settings = paddle.inference.Config(str(program), path + ".pdiparams")
    settings.disable_gpu()
    settings.disable_glog_info()
    settings.enable_mkldnn()
    program = paddle.inference.create_predictor(settings)
    program.get_input_handle("x").copy_from_cpu(x.numpy())
    program.run()
    found = program.get_output_handle(program.get_output_names()[0]).copy_to_cpu()
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def test_a_program_without_onednn_leaves_later_ones_their_copies(tmp_path):
    """Paddle builds programs from copies of the functions that it met in the first of them: so this
    test has to come first in its process."""
    layer, spec = AfterConvolution(resized), paddle.static.InputSpec([None, 3, None, None])
    (tmp_path / "later").mkdir()
    with program_that_only_predicts(through_onednn=False):
        paddle.jit.save(layer, str(tmp_path / "first"), input_spec=[spec])
    assert difference(resized, tmp_path / "later") < 1e-5


@pytest.mark.parametrize("step", [resized, upsampled, averaged, pooled])
def test_a_step_behind_a_convolution(step, tmp_path):
    assert difference(step, tmp_path) < 1e-5


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2.6 converts for matmul")
def test_without_the_copy_numbers_are_shuffled(tmp_path):
    """So the test above can fail."""
    assert difference(unprotected, tmp_path) > 0.1
