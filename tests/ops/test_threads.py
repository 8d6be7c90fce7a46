"""What the operators' threads must not bring into a result."""

import os
import subprocess
import sys
from pathlib import Path

import paddle

import htc_ops

FOLDER = Path(htc_ops.__file__).parents[1]  # of the package that this process runs


class Matcher(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        one = paddle.nn.initializer.Constant(1.0)
        self.one = self.create_parameter([1], default_initializer=one)

    def forward(self, anchors, gts):
        return htc_ops.match_anchors(anchors, gts * self.one, 0.5, 0.5, 0.5)[1] * 1


# In a process of its own, so that the predictor's run is what makes the threads.
SCRIPT = """
import sys
import numpy as np
import paddle
import htc_ops
from graphs import load_predictor

htc_ops.set_num_threads(4)
anchors = np.float32([[0, 0, 1e-19, 1e-19]] * 400_000)
gts = np.float32([[0, 0, 1e-23, 1e-19]])  # its area is 1e-42: a subnormal number
predictor = load_predictor(sys.argv[1])
for name, boxes in (("anchors", anchors), ("gts", gts)):
    predictor.get_input_handle(name).copy_from_cpu(boxes)
predictor.run()
iou = htc_ops.match_anchors(paddle.to_tensor(anchors), paddle.to_tensor(gts), 0.5, 0.5, 0.5)[1]
print((iou.numpy() > 0).sum(), len(set(iou.tolist())))
"""


def test_threads_made_by_a_predictor_keep_none_of_its_float_mode(tmp_path):
    """Paddle flushes subnormal numbers to zero while a predictor runs; threads inherit that."""
    specs = [paddle.static.InputSpec([None, 4], "float32", name) for name in ("anchors", "gts")]
    layer = paddle.jit.to_static(Matcher(), input_spec=specs, full_graph=True)
    layer.eval()
    paddle.jit.save(layer, str(tmp_path / "saved"))
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "saved")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(FOLDER), str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split()[-2:] == ["400000", "1"]
