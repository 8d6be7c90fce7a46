"""python -m htc.eval: the numbers of pycocotools, from weights and from a results file."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from tiny_runs import command, tiny_overrides


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, overrides) of a run of one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    overrides = tiny_overrides(folder, "train.epochs=1")
    done = command("htc.train", "-o", *overrides)
    assert done.returncode == 0, done.stderr
    return folder, overrides


def test_weights_and_their_results_file_give_the_same_numbers(trained, tmp_path):
    folder, overrides = trained
    weights = f"weights={folder / 'htc_demo'}"
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    results = tmp_path / "results.json"
    done = command("htc.eval", "-o", *overrides, weights, "--json", first, "--classwise",
                   "--save-results", results)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "box: AP" in done.stdout and "umbrella" in done.stdout
    done = command("htc.eval", "-o", *overrides, "--results", results, "--json", second)
    assert done.returncode == 0, done.stderr
    assert json.loads(first.read_text()) == json.loads(second.read_text())
    entries = json.loads(results.read_text())
    assert set(entries[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}


def test_the_ground_truth_as_results_has_an_ap_of_one(trained, tmp_path):
    folder, overrides = trained
    (root,) = (folder / "data").glob("v*")
    truth = json.loads((root / "annotations/instances_val.json").read_text())
    from pycocotools import mask as rle_tools

    results, sizes = [], {i["id"]: (i["height"], i["width"]) for i in truth["images"]}
    for entry in truth["annotations"]:
        if entry["iscrowd"]:
            continue
        size, shape = sizes[entry["image_id"]], entry["segmentation"]
        rle = rle_tools.frPyObjects(shape, *size) if not _compressed(shape) else shape
        rle = rle_tools.merge(rle) if isinstance(rle, list) else rle
        counts = rle["counts"].decode() if isinstance(rle["counts"], bytes) else rle["counts"]
        keys = ("image_id", "category_id", "bbox")
        own = {"score": 1.0, "segmentation": {"size": list(size), "counts": counts}}
        results.append({**{key: entry[key] for key in keys}, **own})
    (tmp_path / "perfect.json").write_text(json.dumps(results))
    numbers = tmp_path / "numbers.json"
    done = command("htc.eval", "-o", *overrides, "--results", tmp_path / "perfect.json",
                   "--json", numbers)  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads(numbers.read_text())["metrics"]
    assert metrics["box_AP"] == pytest.approx(1) and metrics["mask_AP"] == pytest.approx(1)


def _compressed(segmentation) -> bool:
    return isinstance(segmentation, dict) and isinstance(segmentation["counts"], str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "weights: expected trained weights, got none"),
        (["-o", "weights=nowhere.safetensors"], "nowhere.safetensors: there is no such file"),
        (["--results", "nowhere.json"], "results: cannot read nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(trained, arguments, message):
    done = command("htc.eval", "-o", *trained[1], *arguments)
    assert done.returncode == 2, done.stderr
    assert f"error: {message}" in done.stderr and "Traceback" not in done.stderr


def test_weights_of_another_number_of_classes_are_refused(trained, tmp_path):
    folder, overrides = trained
    weights = f"weights={folder / 'htc_demo' / 'best.safetensors'}"
    done = command("htc.eval", "-o", *overrides, weights, "model.box_head.channels=24")
    assert done.returncode == 2 and "does not fill the model" in done.stderr
