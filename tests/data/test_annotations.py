"""Reading the json: every kind of mask and id, what is left out, what is refused and how."""

import numpy as np
import pytest
from coco_folder import CATEGORY_IDS, NAMES
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle_tools

from htc.data import CocoDataset, DatasetError
from htc.data.annotations import read_annotations
from htc.data.masks import crop_masks
from htc.data.segmentation import crosses_itself, parse_segmentation


def dataset(folder, *overrides, split="train"):
    return CocoDataset.from_config(folder.config(*overrides), split)


def test_classes_are_sorted_by_id(folder):
    data = dataset(folder)
    assert data.category_ids == sorted(CATEGORY_IDS) == [3, 7, 40]
    assert data.class_names == [NAMES[1], NAMES[0], NAMES[2]]
    assert data.num_classes == 3
    assert data[0].labels.tolist() == [1]


def test_ids_may_be_texts(folder):
    renamed = {3: "d", 7: "c", 40: 40}
    for category in folder.content["categories"]:
        category["id"] = renamed[category["id"]]
    for entry in folder.content["annotations"]:
        entry["category_id"] = renamed[entry["category_id"]]
        entry["image_id"] = f"p{entry['image_id']}"
    for image in folder.content["images"]:
        image["id"] = f"p{image['id']}"
    data = dataset(folder)
    assert data.category_ids == [40, "c", "d"]
    assert data.picture_ids == ["p10", "p11", "p12"]


def test_records(folder):
    data = dataset(folder, "data.skip_empty=false")
    assert len(data) == 4
    record = data[2]
    assert (record.picture_id, record.height, record.width) == (12, 40, 60)
    assert record.file == folder.images / "12.png"
    assert record.semantic == folder.semantic / "12.png"
    assert record.boxes.tolist() == [[10, 5, 40, 25]] and record.boxes.dtype == np.float32
    assert record.labels.tolist() == [2] and record.labels.dtype == np.int64
    assert record.crowd_boxes.tolist() == [[10, 5, 40, 25]] and record.crowd_labels.tolist() == [1]
    empty = data[3]
    assert empty.boxes.shape == (0, 4) and empty.labels.shape == (0,) and empty.segmentations == []
    with pytest.raises(IndexError, match=r"expected 0\.\.3, got 4"):
        data[4]


def test_the_three_kinds_of_mask_agree(folder):
    data = dataset(folder)
    masks = [
        crop_masks(data[i].segmentations, (40, 60), (40, 60), False).bitmaps()[0] for i in range(3)
    ]
    expected = np.zeros((40, 60), np.uint8)
    expected[5:25, 10:40] = 1
    assert (masks[0] == expected).all()
    expected[10:15, 20:30] = 0
    assert (masks[1] == expected).all() and (masks[2] == expected).all()


def test_pictures_without_instances(folder):
    data = dataset(folder)
    assert data.picture_ids == [10, 11, 12]
    assert data.notices == ["1 pictures without instances are left out"]
    folder.annotation(1)["iscrowd"] = 1  # a crowd alone is nothing to train on
    assert dataset(folder).picture_ids == [11, 12]
    assert dataset(folder, split="val").picture_ids == [10, 11, 12, 13]


def test_no_picture_is_left(folder):
    folder.content["annotations"] = []
    with pytest.raises(DatasetError, match=r"instances\.json: no picture with instances"):
        dataset(folder)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"bbox": [70, 5, 10, 10]}, "box outside"),
        ({"bbox": [-20, 5, 20, 10]}, "box outside"),
        ({"bbox": [10, 5, 0.5, 10]}, "empty box"),
        ({"bbox": [10, 5, 10, 0]}, "empty box"),
        ({"area": 0}, "empty box"),
        ({"segmentation": []}, "empty mask"),
        ({"segmentation": [[1, 2, 3, 4]]}, "empty mask"),
        ({"segmentation": {"size": [40, 60], "counts": [2400]}}, "empty mask"),
        ({"segmentation": {"size": [40, 60], "counts": [0, 0, 2400, 0]}}, "empty mask"),
    ],
)
def test_what_is_left_out_is_counted(folder, change, kind):
    folder.annotation(1).update(change)
    data = dataset(folder, "data.skip_empty=false")
    assert data[0].labels.size == 0
    assert data.dropped.counts[kind] == 1
    assert data.notices[0].startswith(f"1 instances are left out (1 {kind})")
    assert "picture 10 (10.png), annotation 1" in data.dropped.examples[kind][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 5}, r"picture 10 \(10.png\), annotation 1: category_id 5, expected one of"
         r" 3, 7, 40"),
        ({"image_id": 99}, "annotation 1: image_id 99"),
        ({"bbox": [1, 2, 3]}, r"bbox: expected \[x, y, width, height\], got \[1, 2, 3\]"),
        ({"bbox": None}, "bbox: expected .* got None"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox: expected"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox: expected"),
        ({"segmentation": None}, r"annotation 1: has no segmentation .*mask_head\.enabled=false"),
        ({"segmentation": "abc"}, "segmentation: expected polygons or an RLE, got str"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, r"expected polygons .* got \[1, 2, 3, 4, 5\]"),
        ({"segmentation": [["a"] * 6]}, "expected polygons"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "expected polygons"),
        ({"segmentation": {"size": [60, 40], "counts": [2400]}},
         r"RLE: expected size \[height, width\] \[40, 60\], got \[60, 40\]"),
        ({"segmentation": {"size": [40, 60], "counts": [10, 20]}},
         r"RLE: expected counts of 2400 pixels \(40 x 60\), got 30"),
        ({"segmentation": {"size": [40, 60], "counts": [-10, 2410]}}, "whole numbers >= 0"),
        ({"segmentation": {"size": [40, 60], "counts": "~~"}}, "counts is not a COCO RLE string"),
        ({"segmentation": {"size": [40, 60], "counts": "0P"}}, "not a COCO RLE string"),
        ({"segmentation": {"size": [40, 60], "counts": ""}}, "not a COCO RLE string"),
        ({"segmentation": {"size": [40, 60], "counts": "5:"}}, "expected counts of 2400 pixels"),
        ({"segmentation": {"size": [40, 60]}}, "RLE: expected counts, got NoneType"),
    ],
)  # fmt: skip
def test_what_is_refused(folder, change, message):
    folder.annotation(1).update(change)
    with pytest.raises(DatasetError, match=f"instances.json: .*{message}"):
        dataset(folder)


def test_boxes_alone_need_no_masks(folder):
    for entry in folder.content["annotations"]:
        del entry["segmentation"]
    config = folder.config("model.mask_head.enabled=false", "eval.metrics=[box]", "eval.best=box")
    data = CocoDataset.from_config(config, "train")
    assert data[0].segmentations == [None] and not data.has_masks


def test_more_errors_are_counted(folder):
    for entry in folder.content["annotations"][:3]:
        entry["category_id"] = 77
    with pytest.raises(DatasetError, match=r"77, .*\(and 2 more: python -m htc.data check"):
        dataset(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c["images"].append(dict(c["images"][0])), "id 10: 10.png and 10.png"),
        (lambda c: c["images"][0].pop("file_name"), "image .* expected an id and a file_name"),
        (lambda c: c["images"][0].update(height=0), "expected height and width, whole numbers"),
        (lambda c: c["categories"].append({"id": 7, "name": "x"}), "category id 7, name 'x'"),
        (lambda c: c["categories"].append({"id": 8, "name": "cat"}), "category id 8, name 'cat'"),
        (lambda c: c["categories"].append({"name": "y"}), "category .* expected an id and a name"),
        (lambda c: c["annotations"].append([1]), r"annotation \[1\]: expected an object"),
    ],
)
def test_malformed_entries(folder, spoil, message):
    spoil(folder.content)
    with pytest.raises(DatasetError, match=message):
        dataset(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read .*a.json: Expecting property name"),
        ("[1]", "expected a COCO json .* got a list; a file of results goes elsewhere"),
        ('{"images": [], "annotations": []}', "a list 'categories', got the keys .*categories are"),
    ],
)
def test_not_a_coco_json(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_annotations(tmp_path / "a.json")


def test_number_of_classes(folder):
    with pytest.raises(
        DatasetError,
        match=r"num_classes: the configuration has 80, .*instances.json has 3 \(dog, cat, cow\); set"
        r" -o num_classes=3",
    ):
        dataset(folder, "num_classes=80")


@pytest.mark.parametrize("part", ["images", "annotations"])
def test_paths_that_are_not_there(folder, part):
    with pytest.raises(DatasetError, match=rf"data\.train\.{part}: .*gone does not exist"):
        dataset(folder, f"data.train.{part}=gone")
    with pytest.raises(DatasetError, match=rf"data\.train\.{part}: expected a path, got nothing"):
        dataset(folder, f"data.train.{part}=''")


def test_semantic_maps_may_be_absent(folder):
    data = dataset(folder, "data.train.semantic=null")
    assert not data.has_semantic and data.semantic_notice == "data.train.semantic is not set"
    data = dataset(folder, "data.train.semantic=gone")
    assert not data.has_semantic and data.semantic_notice.endswith("there is no folder"
                                                                   f" {folder.root / 'gone'}")  # fmt: skip  # noqa: E501
    assert data[0].semantic is None


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_compressed_strings_are_understood(mask):
    rle = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    value = {"size": list(mask.shape), "counts": rle["counts"].decode()}
    if mask.any():
        parsed, passed_over = parse_segmentation(value, *mask.shape)
        assert parsed["counts"] == rle["counts"] and passed_over == 0
    else:
        with pytest.raises(ValueError, match="covers no pixel"):
            parse_segmentation(value, *mask.shape)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_any_string_is_parsed_or_refused(counts):
    try:
        parsed, _ = parse_segmentation({"size": [30, 20], "counts": counts}, 30, 20)
    except ValueError as error:
        assert str(error).startswith("RLE: ")
    else:
        assert rle_tools.decode(parsed).shape == (30, 20)


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([0, 0, 10, 0, 10, 10, 0, 10], False),
        ([0, 0, 10, 10, 10, 0, 0, 10], True),  # a bow tie
        ([0, 0, 10, 0, 10, 10, 0, 10, 0, 0], False),  # closed explicitly
        ([0, 0, 10, 0, 10, 0, 10, 10, 0, 10], False),  # a point twice
        ([0, 0, 10, 0, 5, 0, 10, 10, 0, 10], False),  # back along a side
        ([0, 0, 20, 0, 20, 20, 10, 20, 10, -5, 5, -5, 5, 20, 0, 20], True),
        ([0, 0, 10, 0, 5, 5], False),
    ],
)
def test_polygons_that_cross_themselves(points, crosses):
    assert crosses_itself(np.array(points, np.float32)) is crosses
