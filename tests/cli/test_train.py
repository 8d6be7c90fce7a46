"""python -m htc.train: what it writes, and a user's mistakes as one line and exit code 2."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from tiny_runs import command, tiny_overrides

from htc.config import load_config
from htc.engine.progress import read_metrics
from htc.train import main

LINE = re.compile(
    r"Epoch: \[0\] \[1/3\] learning_rate: \d\.\d{6} loss_rpn_cls: \d+\.\d{6} loss_rpn_reg: \S+"
    r" .*loss_bbox_cls_stage0: \S+ loss_bbox_reg_stage0: \S+ .*loss_mask_stage2: \S+ .*loss: \S+"
    r" eta: \d+:\d\d:\d\d batch_cost: \S+ data_cost: \S+ ips: \S+ images/s"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder of a finished run, what the command printed)."""
    folder = tmp_path_factory.mktemp("run")
    done = command("htc.train", "--eval", "-o", *tiny_overrides(folder))
    assert done.returncode == 0, done.stderr
    return folder / "htc_demo", done.stdout


def test_the_run_folder_holds_everything(finished):
    folder, _ = finished
    for name in ("1", "2", "best.safetensors", "last.safetensors", "config.yml", "metrics.jsonl"):
        assert (folder / name).exists(), name
    for name in ("train.log", "curves.png", "report.html"):
        assert (folder / name).stat().st_size > 500, name
    assert len(list((folder / "overlays").glob("*.jpg"))) == 2


def test_the_log_line_is_the_one_that_users_know(finished):
    folder, printed = finished
    assert LINE.search(printed), printed
    assert LINE.search((folder / "train.log").read_text())


def test_metrics_hold_every_step_and_both_evaluations(finished):
    entries = read_metrics(finished[0] / "metrics.jsonl")
    assert [e["step"] for e in entries if e["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    evaluations = [entry for entry in entries if entry["kind"] == "eval"]
    assert [entry["epoch"] for entry in evaluations] == [1, 2]
    assert all(0 <= entry[f"{m}_AP"] <= 1 for entry in evaluations for m in ("box", "mask"))


def test_the_resolved_configuration_reads_back(finished):
    config = load_config(finished[0] / "config.yml")
    assert config.data.batch_size == 2 and config.name == "htc_demo"


def test_the_report_needs_no_other_file(finished):
    page = (finished[0] / "report.html").read_text()
    assert "Average precision" in page and "Configuration" in page
    assert set(re.findall(r'src="(.{5})', page)) == {"data:"}
    assert page.count("data:image/jpeg") == 2 and page.count("data:image/png") == 1


def test_print_config_reads_back_and_trains_nothing(tmp_path, capsys):
    output = f"runtime.output={tmp_path / 'out'}"
    assert main(["--print-config", "--amp", "-o", "num_classes=7", output]) == 0
    (tmp_path / "printed.yml").write_text(capsys.readouterr().out)
    config = load_config(tmp_path / "printed.yml")
    assert config.num_classes == 7 and config.train.amp
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "htc_r50"], "is neither a file nor a shipped configuration"),
        (["-o", "train.epoch=3"], "train.epochs"),
        (["--resume", "nowhere"], "neither a run folder nor a checkpoint"),
        (["-o", "num_classes=7"], "num_classes"),
        (["-o", "train.pretrained=nowhere.pth"], "nowhere.pth"),
        (["-c", "htc_r50_fpn_1x_coco", "-o", "data.root=nowhere"], "nowhere"),
        (["-o", "runtime.device=gpu"], "runtime.device"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path, demo_data, capsys, monkeypatch, arguments, message
):
    paddle = pytest.importorskip("paddle")
    if "runtime.device=gpu" in arguments and paddle.device.cuda.device_count():
        pytest.skip("there is a GPU")
    overrides = tiny_overrides(tmp_path, data=demo_data)
    overrides = [text for text in overrides if text != "runtime.device=cpu"]
    if "-c" in arguments:
        overrides = [f"runtime.output={tmp_path}"]
    for name in ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE"):  # the command sets them
        monkeypatch.setenv(name, "1")
    assert main(["-o", *overrides, *arguments]) == 2
    printed = capsys.readouterr().err
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], printed


def test_a_loss_that_is_not_finite_stops_and_says_where(tmp_path, demo_data):
    explode = ("train.learning_rate=1e12", "train.warmup_iterations=0", "eval.at_end=false")
    done = command("htc.train", "-o", *tiny_overrides(tmp_path, *explode, data=demo_data))
    assert done.returncode == 1, done.stdout
    message = r"error: loss is not finite: loss_\w+ = .*; pictures of the batch: \[\d"
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_the_state_of_a_checkpoint_is_plain_json(finished):
    state = json.loads((finished[0] / "2" / "state.json").read_text())
    assert state["position"]["epoch"] == 2 and state["position"]["step"] == 6
