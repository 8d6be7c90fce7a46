"""Several processes train as one that accumulates, and share an evaluation."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import ROOT, command, tiny_overrides

from htc.data.demo import make_demo
from htc.engine import checkpoints, siblings
from htc.engine.progress import read_metrics

# Twelve steps of two pictures.
COMMON = ("train.epochs=4", "train.steps=[3]", "eval.overlays=0")


def run(folder, data, *overrides, resume=False):
    overrides = tiny_overrides(folder, *COMMON, *overrides, data=data)
    done = command("htc.train", *["--resume"] * resume, "-o", *overrides)
    logs = [path.read_text() for path in (folder / "htc_demo").glob("process*.log")]
    assert done.returncode == 0, done.stderr[-2000:] + "\n".join(logs)[-2000:]
    return folder / "htc_demo"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, demo_data):
    """Run folders of two processes with a picture each, and of one that accumulates two."""
    folder = tmp_path_factory.mktemp("pair")
    # With statistics of the batch the two would differ: a batch is one picture in both, but the
    # stored statistics are averaged over processes and follow one another in accumulation.
    common = ("data.batch_size=1", "model.backbone.norm_eval=true")
    two = run(folder / "two", demo_data, *common, "runtime.processes=2")
    one = run(folder / "one", demo_data, *common, "train.accumulate=2")
    return two, one


def test_two_processes_train_as_one_that_accumulates(pair):
    two, one = (checkpoints.load(checkpoints.list_checkpoints(folder)[0]) for folder in pair)
    assert two.position.step == one.position.step == 12
    for name, expected in one.weights.items():
        np.testing.assert_allclose(two.weights[name], expected, rtol=0, atol=1e-5, err_msg=name)
    moved = [n for n in one.optimizer if np.abs(one.optimizer[n]).max() > 0]
    assert len(moved) > 50


def test_each_picture_is_evaluated_once(pair):
    two, one = ([e for e in read_metrics(f / "metrics.jsonl") if e["kind"] == "eval"] for f in pair)
    assert len(two) == len(one) == 1
    for name in ("box_AP", "mask_AP", "box_AP50"):
        assert two[0][name] == pytest.approx(one[0][name], abs=1e-4)


def test_statistics_of_batches_are_shared(tmp_path, demo_data):
    overrides = ("data.batch_size=1", "runtime.processes=2", "eval.at_end=false")
    stop = ("train.epochs=1",)
    whole = run(tmp_path / "whole", demo_data, *overrides, "train.snapshot_iterations=1", *stop)
    # Resumed from within the epoch: both processes begin with what the first one saved.
    parts = tmp_path / "parts" / "htc_demo"
    parts.mkdir(parents=True)
    (whole / "0-2").rename(parts / "0-2")
    run(tmp_path / "parts", demo_data, *overrides, *stop, resume=True)
    ours, theirs = checkpoints.load(whole / "1"), checkpoints.load(parts / "1")
    for name, expected in ours.weights.items():
        np.testing.assert_array_equal(theirs.weights[name], expected, err_msg=name)


def test_a_picture_without_instances_in_one_process_does_not_hang(tmp_path, demo_data):
    source = make_demo(demo_data, 0, 6, 3, 64)
    content = json.loads((source / "annotations/instances_train.json").read_text())
    lonely = content["images"][0]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != lonely]
    (tmp_path / "train.json").write_text(json.dumps(content))
    folder = run(
        tmp_path / "run",
        demo_data,
        "data.kind=coco",
        f"data.root={source}",
        "data.train.images=train",
        f"data.train.annotations={tmp_path / 'train.json'}",
        "data.train.semantic=semantic/train",
        "data.skip_empty=false",
        "data.batch_size=1",
        "train.epochs=1",
        "runtime.processes=2",
    )
    assert [e["step"] for e in read_metrics(folder / "metrics.jsonl")] == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX processes")
@pytest.mark.parametrize("moment", ["before they have met", "in training"])
def test_the_others_end_when_the_first_is_killed(tmp_path, demo_data, moment):
    overrides = tiny_overrides(tmp_path, "runtime.processes=2", "data.batch_size=1",
                               "train.epochs=500", data=demo_data)  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "htc.train", "-o", *overrides],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    deadline = time.time() + 120
    while not (siblings := children.read_text().split()) and time.time() < deadline:
        time.sleep(0.02)
    metrics = tmp_path / "htc_demo" / "metrics.jsonl"
    while moment == "in training" and not read_metrics(metrics) and time.time() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert siblings
    while any(_alive(pid) for pid in siblings) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in siblings)


def test_the_first_ends_when_another_is_killed(tmp_path, demo_data):
    overrides = tiny_overrides(tmp_path, "runtime.processes=2", "data.batch_size=1",
                               "train.epochs=500", data=demo_data)  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "htc.train", "-o", *overrides],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    metrics, deadline = tmp_path / "htc_demo" / "metrics.jsonl", time.time() + 300
    while not read_metrics(metrics) and time.time() < deadline:
        time.sleep(0.05)
    assert read_metrics(metrics), "it has not begun within minutes"
    (sibling,) = children.read_text().split()
    os.kill(int(sibling), signal.SIGKILL)
    try:
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()


def test_a_lost_process_is_named_with_the_end_of_its_log(tmp_path, monkeypatch):
    log = tmp_path / "process1.log"
    log.write_text("began\nerror: no more memory\n\n")
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    ended.wait()
    monkeypatch.setattr(siblings, "_running", [(ended, log)])
    with pytest.raises(siblings.ProcessLost, match=r"process 1 has ended \(exit code 3\), see .*"
                       r"process1\.log: error: no more memory$"):  # fmt: skip
        siblings.check()
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(siblings, "_running", [(running, log)])
    siblings.check()
    running.communicate(b"\n")


@pytest.mark.slow
def test_a_process_may_be_later_than_gloo_would_wait(tmp_path):
    """Gloo gives up after 30 seconds, which the AP of many pictures may take the first process."""
    script = tmp_path / "late.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from htc.engine import siblings\n"
        "with siblings.started(2, 'late', [], Path(sys.path[0])):\n"
        "    import paddle\n"
        "    from htc.engine import processes\n"
        "    rank, world = processes.start()\n"
        "    time.sleep(0 if rank else 40)\n"
        "    value = paddle.to_tensor([float(rank)])\n"
        "    processes.average([value], world)\n"
        "    assert processes.gather(rank, world) == [0, 1]\n"
        "    print(value.item())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=200)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0.5"


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
