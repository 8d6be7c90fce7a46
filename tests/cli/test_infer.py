"""python -m htc.infer and htc.Predictor, on weights of a minute network."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

import paddle
from pycocotools import mask as rle_tools
from tiny_runs import command, tiny_overrides

import htc
from htc.checkpoint import save_weights
from htc.coco_metric import coco_ap
from htc.commands import separate
from htc.config import ConfigError, load_config, to_yaml
from htc.data.errors import DatasetError
from htc.infer import find_pictures


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weight file that holds its configuration, as training writes it."""
    folder = tmp_path_factory.mktemp("weights")
    config = load_config(None, tiny_overrides(folder))
    paddle.seed(3)
    model = htc.build_model(config)
    # Fresh logits are all alike: spread them, so that there is something to detect.
    for head in model.box_heads:
        head.class_logits.weight.set_value(head.class_logits.weight * 30)
    facts = {"config": to_yaml(config), "classes": "\n".join("abcde")}
    save_weights(folder / "best.safetensors", model, facts)
    return folder / "best.safetensors"


@pytest.fixture(scope="module")
def predictor(weights):
    return htc.Predictor(weights, device="cpu")


def picture(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_detections_are_in_the_picture_as_given(predictor):
    (found,) = predictor(picture(40, 60))
    assert len(found) and found.size == (40, 60) and found.class_names == list("abcde")
    assert (found.boxes >= 0).all() and (found.boxes <= [60, 40, 60, 40]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.bitmaps().shape == (len(found), 40, 60)
    assert set(np.unique(found.bitmaps())) <= {0, 1}


def test_files_arrays_and_batches_give_the_same(predictor, weights, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    (of_file,), (of_array,) = predictor(tmp_path / "a.png"), predictor(picture())
    np.testing.assert_array_equal(of_file.boxes, of_array.boxes)
    together = htc.Predictor(weights, device="cpu", batch_size=2)([picture(), picture(seed=1)])
    assert len(together) == 2
    np.testing.assert_allclose(together[0].boxes, of_array.boxes, atol=1e-3)


def test_a_run_folder_is_as_good_as_its_weights(predictor, weights):
    (first,), (second,) = predictor(picture()), htc.Predictor(weights.parent)(picture())
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_a_threshold_keeps_the_best(predictor):
    (everything,) = predictor(picture())
    middle = float(np.median(everything.scores))
    (best,) = predictor(picture(), score=middle)
    np.testing.assert_array_equal(best.scores, everything.scores[everything.scores >= middle])


def test_the_mirrored_picture_has_mirrored_detections_with_flip(predictor):
    (one,), (other,) = predictor(picture(), flip=True), predictor(picture()[:, ::-1], flip=True)
    # Both look at the same two views; the order of equal scores aside, the answers mirror.
    np.testing.assert_allclose(np.sort(one.scores), np.sort(other.scores), atol=1e-5)
    mirrored = other.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [60, 0, 60, 0]
    order, other_order = (np.lexsort(b.round(2).T) for b in (one.boxes, mirrored))
    np.testing.assert_allclose(one.boxes[order], mirrored[other_order], atol=1e-3)
    bitmaps, theirs = one.bitmaps()[order], other.bitmaps()[other_order][:, :, ::-1]
    assert (bitmaps != theirs).mean() < 0.01


def test_several_sizes(predictor):
    (found,) = predictor(picture(), short_sides=[64])
    assert len(found) and found.bitmaps().shape == (len(found), 40, 60)


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        (np.zeros((4, 4), np.uint8), ValueError, r"expected \[H, W, 3\] uint8, RGB, got \[4, 4\]"),
        (np.zeros((4, 4, 3)), ValueError, "float64"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "at least one pixel"),
        ([7], TypeError, "expected a path or an array, got int"),
        ("nowhere.png", DatasetError, "nowhere.png"),
    ],
)
def test_what_is_no_picture_is_refused(predictor, argument, error, message):
    with pytest.raises(error, match=message):
        predictor(argument)


def test_weights_alone_need_a_configuration(tmp_path):
    save_weights(tmp_path / "x.safetensors", {"rpn.conv.bias": np.zeros(8, "float32")})
    with pytest.raises(ConfigError, match="give its configuration as config="):
        htc.Predictor(tmp_path / "x.safetensors")
    config = load_config(None, tiny_overrides(tmp_path))
    with pytest.raises(ConfigError, match="does not fill the model"):
        htc.Predictor(tmp_path / "x.safetensors", config)


def test_weights_of_another_number_of_classes_are_refused(weights, tmp_path):
    config = load_config(None, tiny_overrides(tmp_path, "num_classes=7"))
    with pytest.raises(ConfigError, match=r"does not fill the model: .*num_classes=7\)"):
        htc.Predictor(weights, config)


def test_inputs_are_files_folders_and_globs(tmp_path):
    for name in ("a.jpg", "sub/b.PNG", "sub/notes.txt", "c.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find_pictures([str(tmp_path), str(tmp_path / "*.tif")])
    assert [path.name for path in found] == ["a.jpg", "c.tif", "b.PNG"]
    with pytest.raises(ConfigError, match="matches nothing"):
        find_pictures([str(tmp_path / "*.webp")])
    with pytest.raises(ConfigError, match="no pictures"):
        (tmp_path / "none").mkdir()
        find_pictures([str(tmp_path / "none")])


def test_inputs_may_follow_overrides():
    assert separate(["-o", "a=1", "b=2", "x.jpg", "--output", "d", "c=3"]) == [
        "-o", "a=1", "-o", "b=2", "x.jpg", "--output", "d", "c=3",
    ]  # fmt: skip


def test_the_command_writes_overlays_and_one_json(weights, tmp_path):
    for number in range(2):
        Image.fromarray(picture(seed=number)).save(tmp_path / f"{number}.png")
    output = tmp_path / "found"
    done = command("htc.infer", "-o", f"weights={weights}", tmp_path / "0.png", tmp_path / "1.png",
                   "--output", output, "--score", "0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((output / "detections.json").read_text())
    assert [image["width"] for image in content["images"]] == [60, 60]
    assert [category["name"] for category in content["categories"]] == list("abcde")
    for entry in content["annotations"]:
        assert entry["area"] == rle_tools.decode(entry["segmentation"]).sum()
    assert len({entry["id"] for entry in content["annotations"]}) == len(content["annotations"]) > 0
    # What is written is itself a COCO json that the evaluation reads.
    results = [{**entry, "score": 1.0} for entry in content["annotations"]]
    assert coco_ap(content, results, "mask").summary["AP"] > 0.5
    assert len(list(output.glob("*.jpg"))) == 2


def test_mistakes_are_one_line(tmp_path):
    done = command("htc.infer", "x.jpg", "--output", tmp_path)
    assert done.returncode == 2 and "error: weights: expected trained weights" in done.stderr
    done = command("htc.infer", "-o", "weights=nowhere.pth", "nowhere.jpg", "--output", tmp_path)
    assert done.returncode == 2 and "'nowhere.jpg' is no file" in done.stderr


def test_tiles_cover_large_pictures(predictor, weights):
    (whole,) = predictor(picture(40, 60))
    (one_tile,) = predictor(picture(40, 60), tile=60)
    np.testing.assert_array_equal(one_tile.boxes, whole.boxes)
    assert one_tile.masks == whole.masks
    large = picture(100, 150)
    (found,) = predictor(large, tile=60, overlap=20, score=0.01)
    assert found.size == (100, 150) and found.bitmaps().shape == (len(found), 100, 150)
    assert found.boxes[:, 2].max() > 120 and found.boxes[:, 3].max() > 80  # of the last tile
    (together,) = htc.Predictor(weights, batch_size=4)(large, tile=60, overlap=20, score=0.01)
    np.testing.assert_allclose(together.boxes, found.boxes, atol=1e-2)
    with pytest.raises(ValueError, match="overlap: expected 0 to 59 px"):
        predictor(large, tile=60, overlap=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tile", "-3"], "--tile, --overlap: expected a tile of 1 px or more"),
        (["--tile", "60", "--overlap", "60"], "got 60 and 60"),
        (["--overlap", "20"], "--overlap: goes with --tile"),
        (["--score", "2"], "--score: expected a number from 0 to 1, got 2.0"),
        (["--batch-size", "0"], "--batch-size: expected 1 or more, got 0"),
    ],
)
def test_options_that_cannot_be(capsys, arguments, message):
    from htc.infer import main

    assert main(["-o", "weights=x", "x.jpg", "--output", "nowhere", *arguments]) == 2
    assert message in capsys.readouterr().err
