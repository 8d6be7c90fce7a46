"""A resumed run is the uninterrupted one, bit for bit; a stop loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_runs import ROOT, command, tiny_overrides

from htc.config import load_config
from htc.engine import checkpoints
from htc.engine.progress import read_metrics
from htc.engine.signals import StopRequest
from htc.engine.trainer import Trainer
from htc.weights import read_weights


class StopAt:
    """Asks to stop when so many steps are done."""

    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    def __bool__(self):
        return self.trainer.position.step >= self.step


def run(folder, data, *overrides, stop_at=None, resume=False):
    overrides = tiny_overrides(folder, "eval.at_end=false", *overrides, data=data)
    trainer = Trainer(load_config(None, overrides), folder / "htc_demo")
    trainer.run.mkdir(parents=True, exist_ok=True)
    if resume:
        trainer.resume(checkpoints.find(trainer.run, print))
    stop = StopAt(trainer, stop_at) if stop_at else StopRequest()
    assert trainer.train(stop) is not bool(stop_at)
    return trainer


def losses(folder):
    keys = ("batch_cost", "data_cost", "ips", "time")
    entries = read_metrics(folder / "htc_demo" / "metrics.jsonl")
    return [{k: v for k, v in entry.items() if k not in keys} for entry in entries]


def assert_same_end(first, second):
    ours, theirs = checkpoints.load(first), checkpoints.load(second)
    for part in ("weights", "optimizer", "ema"):
        expected, found = getattr(ours, part), getattr(theirs, part)
        assert list(expected) == list(found)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=f"{part} of {name}")
    assert ours.position == theirs.position


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.ema_decay=0.9", "train.clip_norm=1", "model.backbone.norm_eval=false"),
        (
            "data.batch_size=1",
            "train.accumulate=2",
            "data.train_short_sides=[40, 48]",
            "train.optimizer=adamw",
            "train.learning_rate=0.001",
        ),
    ],
    ids=["ema, clipping, batch statistics", "accumulation, two scales, AdamW"],
)
def test_resumed_within_an_epoch_bit_for_bit(tmp_path, demo_data, overrides):
    run(tmp_path / "whole", demo_data, *overrides)
    run(tmp_path / "parts", demo_data, *overrides, stop_at=2)  # of 3 an epoch
    run(tmp_path / "parts", demo_data, *overrides, stop_at=4, resume=True)
    run(tmp_path / "parts", demo_data, *overrides, resume=True)
    assert_same_end(tmp_path / "whole/htc_demo/2", tmp_path / "parts/htc_demo/2")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 6


def test_checkpoints_every_few_steps_lose_what_came_after(tmp_path, demo_data):
    trainer = run(tmp_path, demo_data, "train.snapshot_iterations=1", "train.keep_checkpoints=9")
    names = [path.name for path in checkpoints.list_checkpoints(trainer.run)]
    assert names == ["2", "1-2", "1-1", "1", "0-2", "0-1"]
    whole = losses(tmp_path)
    config = load_config(None, tiny_overrides(tmp_path, "eval.at_end=false", data=demo_data))
    again = Trainer(config, trainer.run)
    again.resume(checkpoints.find(trainer.run / "0-2", print))
    again.train(StopRequest())
    assert losses(tmp_path) == whole  # nothing twice


def test_another_batch_size_is_refused(tmp_path, demo_data):
    run(tmp_path, demo_data, stop_at=1)
    with pytest.raises(checkpoints.CheckpointError, match=r"data.batch_size = 2, this run has 3"):
        run(tmp_path, demo_data, "data.batch_size=3", resume=True)


def test_weights_of_a_checkpoint_are_an_ordinary_weight_file(tmp_path, demo_data):
    trainer = run(tmp_path, demo_data, "train.ema_decay=0.5", stop_at=1)
    arrays, metadata = read_weights(trainer.run / "last.safetensors")
    averages = {name: tensor.numpy() for name, tensor in trainer.average.values.items()}
    assert set(arrays) == set(averages)
    np.testing.assert_array_equal(arrays["rpn.conv.weight"], averages["rpn.conv.weight"])
    assert metadata["format"] == "htc" and "num_classes: 5" in metadata["config"]
    assert metadata["classes"].splitlines()[0] == trainer.dataset.class_names[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_and_then_resume(tmp_path, demo_data, number):
    overrides = tiny_overrides(
        tmp_path, "eval.at_end=false", "train.epochs=3", "train.snapshot_iterations=1",
        data=demo_data,
    )  # fmt: skip
    arguments = [sys.executable, "-m", "htc.train", "-o", *overrides]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics, deadline = tmp_path / "htc_demo" / "metrics.jsonl", time.time() + 200
    while len(read_metrics(metrics)) < 4 and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    output, errors = process.communicate(timeout=100)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    elif process.returncode != 0:  # 0: it was at the end already
        assert process.returncode == 128 + number, errors
        assert "--resume goes on from here" in output
    done = command("htc.train", "--resume", "-o", *overrides)
    assert done.returncode == 0, done.stderr
    steps = [entry["step"] for entry in read_metrics(metrics)]
    assert steps == list(range(1, 10))
    state = json.loads((tmp_path / "htc_demo/3/state.json").read_text())
    assert state["position"]["step"] == 9
