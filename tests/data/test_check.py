"""The pre-flight check: each fault is found, counted, and its first examples are shown."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from shared import shared

from htc.config import load_config
from htc.data import DatasetError
from htc.data.check import check_split, quick_check
from htc.data.problems import Problems


def found(folder, *overrides, split="train", **options):
    report = check_split(folder.config(*overrides), split, **options)
    return dict(report.problems.counts), report


def test_a_clean_set(folder):
    counts, report = found(folder)
    assert counts == {"no instances": 1}
    assert report.problems.clean and report.decoded == 4
    text = report.text()
    assert "4 pictures (4 decoded), 4 instances (1 crowd), 3 classes" in text
    assert "semantic ids: 5 of 0..4 used on 100.0% of the pixels, 255 (ignored) on 0.0%" in text
    assert re.search(r"note +1  no instances: .*\n.*- picture 13 \(13.png\)", text)


def spoil_png(path):
    path.write_bytes(path.read_bytes()[:60])


# What to do to the folder: the kind that must be found, and how the example reads.
FAULTS = {
    "missing picture": (
        lambda f: (f.images / "11.png").unlink(),
        r"picture 11: no such file: .*images.11\.png",
    ),
    "unreadable picture": (
        lambda f: spoil_png(f.images / "11.png"),
        r"picture 11: cannot read .*11\.png: ",
    ),
    "picture size": (
        lambda f: Image.new("RGB", (30, 40)).save(f.images / "11.png"),
        r"picture 11: .*11\.png: the annotations say 60 x 40 .*, the file has 30 x 40",
    ),
    "missing semantic map": (
        lambda f: (f.semantic / "11.png").unlink(),
        r"picture 11: no such file: .*stuff.11\.png",
    ),
    "unreadable semantic map": (
        lambda f: spoil_png(f.semantic / "11.png"),
        r"semantic map of picture 11: cannot read .*11\.png",
    ),
    "semantic channels": (
        lambda f: Image.new("RGB", (60, 40)).save(f.semantic / "11.png"),
        r"expected one channel of class ids, got 3 \(RGB\); save ids, not colours",
    ),
    "semantic size": (
        lambda f: Image.new("L", (40, 60)).save(f.semantic / "11.png"),
        r"semantic map of picture 11: .*60 x 40 .*, the file has 40 x 60",
    ),
    "semantic ids": (
        lambda f: Image.new("L", (60, 40), 5).save(f.semantic / "11.png"),
        r"picture 11: .*11\.png: expected 0\.\.4 or 255, got 5",
    ),
    "box outside": (
        lambda f: f.annotation(1).update(bbox=[60, 0, 10, 10]),
        r"picture 10 \(10\.png\), annotation 1: bbox \[60, 0, 10, 10\] in 60 x 40 px",
    ),
    "box reaches out": (
        lambda f: f.annotation(1).update(bbox=[50, 0, 20, 10]),
        r"annotation 1: bbox \[50, 0, 20, 10\] in 60 x 40 px",
    ),
    "empty box": (
        lambda f: f.annotation(1).update(bbox=[5, 5, 0, 10]),
        r"annotation 1: bbox \[5, 5, 0, 10\], area 600",
    ),
    "empty mask": (
        lambda f: f.annotation(1).update(segmentation=[]),
        "annotation 1: segmentation: no polygon",
    ),
    "empty polygon": (
        lambda f: f.annotation(1)["segmentation"].append([1, 2, 3, 4]),
        r"picture 10 \(10\.png\), annotation 1",
    ),
    "self-crossing polygon": (
        lambda f: f.annotation(1).update(segmentation=[[0, 0, 9, 9, 9, 0, 0, 9]]),
        r"annotation 1: of 4 points",
    ),
    "unknown category": (
        lambda f: f.annotation(1).update(category_id=8),
        r"annotation 1: category_id 8, expected one of 3, 7, 40",
    ),
    "unknown picture": (
        lambda f: f.annotation(1).update(image_id=8),
        "annotation 1: image_id 8",
    ),
    "rle size": (
        lambda f: f.annotation(2)["segmentation"].update(size=[60, 40]),
        r"annotation 2: RLE: expected size \[height, width\] \[40, 60\], got \[60, 40\]",
    ),
    "malformed entry": (
        lambda f: f.annotation(1).pop("bbox"),
        r"annotation 1: bbox: expected \[x, y, width, height\], got None",
    ),
    "duplicate annotation id": (
        lambda f: f.annotation(1).update(id=2),
        "id 2, picture 11",
    ),
    "duplicate picture id": (
        lambda f: f.content["images"].append(dict(f.content["images"][0], file_name="b.png")),
        r"id 10: 10\.png and b\.png",
    ),
    "duplicate category": (
        lambda f: f.content["categories"].append({"id": 7, "name": "bird"}),
        "category id 7, name 'bird'",
    ),
    "class count": (
        lambda f: f.content["categories"].append({"id": 8, "name": "bird"}),
        "the json has 4, the configuration has 3; set -o num_classes=4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_once(folder, kind):
    spoil, example = FAULTS[kind]
    spoil(folder)
    counts, report = found(folder)
    counts.pop("no instances")  # taking an instance away may leave a picture without any
    assert counts == {kind: 1}
    assert not report.problems.clean
    assert re.search(rf"(error|left out|warning) +1  {kind}: .*\n.*- .*{example}", report.text())


# The quick form finds these in pictures that it does not decode, too.
@pytest.mark.parametrize(
    "kind", [k for k in FAULTS if k not in ("self-crossing polygon",)]
)  # fmt: skip
def test_the_quick_form_finds_them_too(folder, kind):
    FAULTS[kind][0](folder)
    reports = quick_check(folder.config(), ["train"])
    assert reports[0].problems.counts[kind] == 1


def test_the_quick_form_decodes_a_few(folder):
    image, annotation = folder.content["images"][0], folder.annotation(1)
    for number in range(100, 200):
        name = f"{number}.png"
        shutil.copy(folder.images / "10.png", folder.images / name)
        shutil.copy(folder.semantic / "10.png", folder.semantic / name)
        folder.content["images"].append(dict(image, id=number, file_name=name))
        entry = dict(annotation, id=number, image_id=number)
        folder.content["annotations"].append(entry)
    for number in (103, 150, 187):
        (folder.images / f"{number}.png").unlink()
    counts, report = found(folder, quick=True)
    assert counts == {"missing picture": 3, "no instances": 1}
    assert report.decoded <= 16


def test_first_examples_and_how_many_more(folder):
    for number in range(10, 14):
        (folder.images / f"{number}.png").unlink()
    counts, report = found(folder, examples=2)
    assert counts["missing picture"] == 4
    text = report.problems.table()
    assert "picture 10:" in text and "picture 11:" in text and "picture 12:" not in text
    assert "- and 2 more" in text


def test_histogram_of_ids_out_of_range(folder):
    labels = np.zeros((40, 60), np.uint8)
    labels[:10] = 17
    labels[10:12] = 200
    labels[12:20] = 255
    for number in (10, 11):
        Image.fromarray(labels).save(folder.semantic / f"{number}.png")
    counts, report = found(folder)
    assert counts["semantic ids"] == 2
    text = report.text()
    assert "out of range (num_semantic_classes is 5), by id:" in text
    seventeen = re.search(r"17 +12.50% in +2 maps (#+)", text)
    two_hundred = re.search(r"200 +2.50% in +2 maps (#+)", text)
    assert len(seventeen[1]) == 30 and len(two_hundred[1]) == 6
    assert "255 (ignored) on 10.0%" in text


def test_maps_are_not_looked_at_where_nothing_reads_them(folder):
    (folder.semantic / "11.png").unlink()
    assert "missing semantic map" not in found(folder, split="val")[0]
    assert "missing semantic map" not in found(folder, "model.semantic.enabled=false")[0]
    counts, report = found(folder, "data.train.semantic=null")
    assert "missing semantic map" not in counts
    assert "no semantic maps (data.train.semantic is not set)" in report.text()


def test_nothing_to_check(folder):
    config = folder.config()
    folder.json.write_text("{")
    with pytest.raises(DatasetError, match=r"annotations: cannot read .*instances\.json"):
        check_split(config, "train")


def test_a_kind_that_is_not_in_the_table_is_a_mistake():
    with pytest.raises(KeyError):
        Problems().add("new kind", "somewhere")


def test_real_pictures():
    root = shared("coco100")
    overrides = [f"data.root={root}"]
    overrides += [f"data.{s}.semantic=semantic/{s}2017" for s in ("train", "val")]
    config = load_config("htc_r50_fpn_1x_coco", overrides)
    report = check_split(config, "train")
    # Annotation 1996153 is a bow tie; pictures 250 and 508 have no instances.
    assert dict(report.problems.counts) == {"self-crossing polygon": 1, "no instances": 2}
    assert "747 instances (6 crowd), 80 classes" in report.text()
    report = check_split(config, "val", quick=True)
    assert report.problems.clean and "712 instances (5 crowd)" in report.text()
