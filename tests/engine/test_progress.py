"""The log: what reaches metrics.jsonl and other writers, and the line of training."""

import sys
import types

import paddle
import pytest

from htc.config import ConfigError, RuntimeConfig
from htc.engine.progress import Meter, MetricsFile, format_seconds, log_line, read_metrics
from htc.engine.writers import open_writers


def test_the_line_by_hand():
    meter = Meter()
    for value in (1.0, 2.0):
        losses = {"loss_rpn_cls": paddle.to_tensor(value), "loss": paddle.to_tensor(2 * value)}
        meter.add(losses, batch_cost=0.5, data_cost=0.1, pictures=2)
    assert log_line(0, 20, 7329, 2e-5, meter.take(), 3725.2) == (
        "Epoch: [0] [  20/7329] learning_rate: 0.000020 loss_rpn_cls: 1.500000 loss: 3.000000"
        " eta: 1:02:05 batch_cost: 0.50000 data_cost: 0.10000 ips: 4.00000 images/s"
    )
    assert len(meter) == 0 and format_seconds(59.6) == "0:01:00"


def test_going_back_drops_later_lines_and_a_torn_one(tmp_path):
    metrics = MetricsFile(tmp_path)
    for step in (1, 2, 3):
        metrics.write("train", step, loss=0.5)
    with metrics.path.open("a") as stream:
        stream.write('{"kind": "tra')
    assert [entry["step"] for entry in read_metrics(metrics.path)] == [1, 2, 3]
    MetricsFile(tmp_path, resume_step=2)
    assert [entry["step"] for entry in read_metrics(metrics.path)] == [1, 2]


@pytest.mark.parametrize(
    ("key", "module", "name"),
    [("visualdl", "visualdl", "LogWriter"), ("tensorboard", "tensorboardX", "SummaryWriter")],
)
def test_other_writers_get_the_numbers_or_say_what_to_install(
    tmp_path, monkeypatch, key, module, name
):
    runtime = RuntimeConfig(**{key: True})
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"pip install {module}"):
        open_writers(runtime, tmp_path)
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, tag, value, step):
            written.append((tag, value, step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: Writer}))
    metrics = MetricsFile(tmp_path, writers=open_writers(runtime, tmp_path))
    metrics.write("eval", 7, box_AP=0.25)
    metrics.close()
    assert written == [str(tmp_path / key), ("eval/box_AP", 0.25, 7), "closed"]
