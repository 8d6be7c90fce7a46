"""The demo pictures: the same for a seed, and as their annotations say."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from htc.data import DatasetError
from htc.data.demo import demo_paths, make_demo
from htc.data.demo.scene import MIN_VISIBLE, STUFF_NAMES, THINGS, draw_scene
from htc.data.demo.textures import STUFF, any_coat, typical_coat
from htc.outlines import outlines

SIZE, COUNT = 96, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("demo"), 3, COUNT, 2, SIZE)


@pytest.fixture(scope="module")
def coco(folder):
    return COCO(demo_paths(folder, "train").annotations)


def fingerprint(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).digest() for f in files}


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path):
    first, second = (make_demo(tmp_path / name, 3, 2, 1, 64) for name in "ab")
    assert fingerprint(first) == fingerprint(second)
    other = fingerprint(make_demo(tmp_path / "a", 4, 2, 1, 64))
    name = "train/00000.jpg"
    assert fingerprint(first)[name] != other[name]


def test_a_folder_that_is_there_is_used_as_it_is(tmp_path):
    folder = make_demo(tmp_path, 0, 1, 1, 64)
    (folder / "note").touch()
    assert make_demo(tmp_path, 0, 1, 1, 64) == folder
    assert (folder / "note").exists()
    assert not list(tmp_path.glob(".partial*"))


def test_progress_counts_all_pictures(tmp_path):
    calls = []
    make_demo(tmp_path, 0, 2, 1, 64, lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_held_out_pictures_are_others(folder):
    train, val = (demo_paths(folder, split).images / "00000.jpg" for split in ("train", "val"))
    assert train.read_bytes() != val.read_bytes()


def test_boxes_and_areas_are_those_of_the_masks(coco):
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        ys, xs = np.nonzero(mask)
        assert annotation["area"] == mask.sum()
        left, top, width, height = annotation["bbox"]
        assert (left, top) == (xs.min(), ys.min())
        assert (left + width, top + height) == (xs.max() + 1, ys.max() + 1)


def test_every_kind_of_segmentation_is_there(coco):
    kinds = {"polygon": 0, "counts": 0, "compressed": 0, "crowd": 0}
    for annotation in coco.anns.values():
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            kinds["polygon"] += 1
        else:
            kinds["counts" if isinstance(segmentation["counts"], list) else "compressed"] += 1
        kinds["crowd"] += annotation["iscrowd"]
    assert all(kinds.values()), kinds
    assert {a["category_id"] for a in coco.anns.values()} == set(coco.cats)


def test_pictures_and_maps_have_the_sizes_of_photographs(folder, coco):
    paths = demo_paths(folder, "train")
    for picture in coco.imgs.values():
        size = (picture["width"], picture["height"])
        assert max(size) == SIZE and 2 / 3 - 0.01 < min(size) / SIZE < 3 / 4 + 0.01
        assert Image.open(paths.images / picture["file_name"]).size == size
        assert Image.open(paths.semantic_file(picture["file_name"])).size == size


def test_semantic_maps_hold_the_visible_things_and_stuff_elsewhere(folder, coco):
    paths = demo_paths(folder, "train")
    for picture_id, picture in coco.imgs.items():
        labels = np.asarray(Image.open(paths.semantic_file(picture["file_name"])))
        covered = np.zeros(labels.shape, int)
        for annotation in coco.loadAnns(coco.getAnnIds(picture_id)):
            mask = coco.annToMask(annotation) > 0
            covered += mask
            assert (labels[mask] == annotation["category_id"] - 1).all()
        assert covered.max() <= 1  # what hides another is cut out of it
        stuff = labels[covered == 0]
        assert ((stuff >= len(THINGS)) & (stuff < len(THINGS) + len(STUFF_NAMES))).all()
    names = [
        entry["name"] for entry in json.loads(paths.annotations.read_text())["semantic_classes"]
    ]
    assert names == [*THINGS, *STUFF_NAMES]


def test_some_objects_hide_others_in_part_and_all_stay_recognisable():
    hidden = 0
    for seed in range(30):
        scene = draw_scene(np.random.default_rng(seed), 96, 128)
        for thing in scene.things:
            if not thing.crowd:
                share = thing.visible.sum() / thing.pixels
                assert MIN_VISIBLE <= share <= 1
                hidden += share < 0.95
    assert hidden >= 10


def test_some_objects_have_holes(coco):
    single = [a for a in coco.anns.values() if not a["iscrowd"]]
    assert sum(bool(outlines(coco.annToMask(a))[1]) for a in single) >= 5


@pytest.mark.parametrize("surface", [*STUFF.values(), any_coat], ids=[*STUFF, "any coat"])
def test_surfaces_have_their_size_and_are_not_plain(surface):
    drawn = surface(np.random.default_rng(0), 21, 34)
    assert drawn.shape == (21, 34, 3) and np.isfinite(drawn).all()
    assert drawn.std() > 0.005


@pytest.mark.parametrize("thing", THINGS)
def test_every_kind_has_a_coat_of_its_own(thing):
    drawn = typical_coat(np.random.default_rng(0), thing, 21, 34)
    assert drawn.shape == (21, 34, 3) and np.isfinite(drawn).all()


@pytest.mark.parametrize("numbers", [(0, 0, 1, 64), (0, 1, 0, 64), (0, 1, 1, 31), (-1, 1, 1, 64)])
def test_numbers_out_of_range_are_refused(tmp_path, numbers):
    with pytest.raises(DatasetError, match="expected at least 1 picture of each split, size >= 32"):
        make_demo(tmp_path, *numbers)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"demo data: cannot write .*file"):
        make_demo(tmp_path / "file", 0, 1, 1, 64)
    assert not list(tmp_path.glob("**/.partial*"))
