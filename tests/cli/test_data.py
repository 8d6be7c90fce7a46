"""python -m htc.data: what it prints, and its exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from htc.config import load_config, to_yaml
from htc.data.__main__ import main


@pytest.fixture
def config_file(tmp_path):
    """The path of a configuration of a data set of one picture, clean."""
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [5, 5, 10, 10],
                "area": 100,
                "iscrowd": 0,
                "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]],
            }
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    overrides = ["data.kind=coco", f"data.root={tmp_path}", "num_classes=1"]
    for split in ("train", "val"):
        overrides += [f"data.{split}.images=.", f"data.{split}.annotations=a.json"]
    path = tmp_path / "config.yml"
    path.write_text(to_yaml(load_config("htc_demo", overrides)))
    return path


def test_a_clean_set(config_file, capsys):
    assert main(["check", str(config_file)]) == 0
    output = capsys.readouterr().out
    assert "train: " in output and "val: " in output
    assert output.count("no problems found") == 2 and output.splitlines()[-1] == "clean"


def test_problems(config_file, capsys):
    (config_file.parent / "a.png").unlink()
    assert main(["check", "-c", str(config_file), "--split", "train", "--quick"]) == 1
    output = capsys.readouterr().out
    assert "missing picture" in output and "val: " not in output
    assert output.splitlines()[-1] == "problems found"


def test_overrides(config_file, capsys):
    assert main(["check", str(config_file), "-o", "num_classes=3", "data.flip=0"]) == 1
    assert (
        "the json has 1, the configuration has 3; set -o num_classes=1" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_config"], "error: .*no_such_config"),
        (["{config}", "-o", "data.root=/nowhere"], "error: data.train.images: /nowhere"),
        (["{config}", "-o", "data.rood=x"], "error: .*rood.*root"),
        (["{config}", "-c", "{config}"], "error: CONFIG was given twice"),
        (["{config}", "--split", "test"], "invalid choice: 'test'"),
        (["{config}", "--examples", "-1"], "--examples: expected 0 or more, got -1"),
    ],
)
def test_usage_errors(config_file, capsys, arguments, message):
    import re

    arguments = [text.format(config=config_file) for text in arguments]
    try:
        code = main(["check", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert re.search(message, capsys.readouterr().err)


def test_make_demo(tmp_path, capsys):
    arguments = ["make-demo", str(tmp_path / "demo"), "--pictures", "2", "1", "--size", "64"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    made = first.partition(":")[0]
    assert "2 + 1 pictures" in first and os.path.isdir(made)
    before = os.stat(made).st_mtime_ns
    assert main(arguments) == 0  # kept from before
    assert os.stat(made).st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--size", "8"],
            "expected at least 1 picture of each split, size >= 32 .* got 400, 80, 8",
        ),
        (["--pictures", "0", "1"], "expected at least 1 picture of each split"),
    ],
)
def test_make_demo_usage_errors(tmp_path, capsys, arguments, message):
    import re

    assert main(["make-demo", str(tmp_path), *arguments]) == 2
    assert re.search(f"error: .*{message}", capsys.readouterr().err)


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["make-demo", str(tmp_path / "file"), "--pictures", "1", "1"]) == 2
    assert "error: demo data: cannot write" in capsys.readouterr().err


def test_help_and_module():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "htc.data"]
    shown = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True)
    assert shown.returncode == 0 and "check" in shown.stdout and "make-demo" in shown.stdout
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 2
