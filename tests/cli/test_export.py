"""python -m htc.export, and the commands on what it wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))

from small_weights import picture, write_small_weights
from tiny_runs import command


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_small_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "exported"
    done = command("htc.export", "-o", f"weights={weights}", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "htc_roi_align" in done.stdout and "export.json" in done.stdout
    return folder


def test_predictions_of_an_export(exported, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    done = command("htc.infer", "-o", f"weights={exported}", tmp_path / "a.png",
                   "--output", tmp_path / "found", "--score", "0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "found/detections.json").read_text())
    assert content["annotations"] and content["categories"][0]["name"] == "a"


def test_mistakes_are_one_line(exported, tmp_path):
    done = command("htc.export", "--output", tmp_path / "x")
    assert done.returncode == 2 and "error: weights: expected trained weights" in done.stderr
    (tmp_path / "export.json").write_text("{}")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    done = command("htc.infer", "-o", f"weights={tmp_path}", tmp_path / "a.png", "--output",
                   tmp_path / "found")  # fmt: skip
    assert done.returncode == 2 and "does not describe an exported model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_precision_that_the_export_lacks_is_one_line(exported, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    done = command("htc.infer", "-o", f"weights={exported}", tmp_path / "a.png",
                   "--output", tmp_path / "found", "--precision", "bf16")  # fmt: skip
    assert done.returncode == 2 and "export it with --precision bf16" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_benchmark_times_every_part(weights, tmp_path):
    done = command("htc.benchmark", "-o", f"weights={weights}", "--rounds", "1",
                   "--json", tmp_path / "times.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "times.json").read_text())
    parts = ["preparation", "backbone", "fpn", "semantic", "rpn", "box stage 0", "box stage 1"]
    parts += ["box stage 2", "selection", "masks", "paste", "whole", "predictor"]
    assert list(content["seconds"]) == parts
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in content["seconds"].values())
    assert content["protocol"]["detections"] == 5 and "pictures a second" in done.stdout
