"""Average precision: the published figures of COCO's example, ids of any kind, refusals."""

import json
import re

import numpy as np
import pytest
from pycocotools import mask as rle_tools
from shared import shared

from htc.coco_metric import NAMES, coco_ap, read_results, table
from htc.data.errors import DatasetError

GOLDEN = {
    "mask": "0.319545 0.562288 0.298927 0.387374 0.310183 0.326934"
    " 0.268230 0.415449 0.416839 0.469450 0.376759 0.381472",
    "box": "0.504581 0.696973 0.572982 0.585626 0.519400 0.501398"
    " 0.386813 0.593680 0.595353 0.639811 0.566421 0.564291",
}
FILES = {"mask": "segm", "box": "bbox"}


@pytest.mark.parametrize("metric", ["box", "mask"])
def test_published_figures_of_the_coco_api(metric):
    folder = shared("coco_eval_golden")
    results = read_results(folder / f"instances_val2014_fake{FILES[metric]}100_results.json")
    steps = []
    scores = coco_ap(
        folder / "instances_val2014_100.json", results, metric, lambda *step: steps.append(step)
    )
    expected = [float(value) for value in GOLDEN[metric].split()]
    # Printed with six digits.
    np.testing.assert_allclose([scores.summary[name] for name in NAMES], expected, atol=5.1e-7)
    assert len(scores.per_class) == 80
    assert -1.0 <= scores.per_class["person"] <= 1.0
    assert steps[-1][0] == steps[-1][1] and len(steps) <= 102


@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("metric", ["box", "mask"])
def test_ground_truth_as_detections_is_perfect(split, metric):
    path = shared("coco100") / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    results = []
    for entry in content["annotations"]:
        rle, size = entry["segmentation"], sizes[entry["image_id"]]
        if isinstance(rle, list):
            rle = rle_tools.merge(rle_tools.frPyObjects(rle, *size))
        elif isinstance(rle["counts"], list):
            rle = rle_tools.frPyObjects(rle, *size)
        results.append({**entry, "score": 0.5, "segmentation": rle})
    assert coco_ap(content, results, metric).summary["AP"] == pytest.approx(1.0, abs=1e-9)


def rectangle(x, y, width, height, size=(40, 60)):
    mask = np.zeros(size, np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = rle_tools.encode(mask)
    return {"size": list(size), "counts": rle["counts"].decode()}


def truth(picture_ids=(0, 1), category_ids=(0, 1), **changes):
    """A picture with two objects and one with one; annotation ids count from 0."""
    boxes = [[2, 3, 20, 10], [30, 20, 15, 15], [5, 5, 30, 30]]
    annotations = [
        {
            "id": number,
            "image_id": picture_ids[number // 2],
            "category_id": category_ids[number % 2],
            "bbox": box,
            "segmentation": rectangle(*box),
            **changes,
        }
        for number, box in enumerate(boxes)
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 40, "width": 60} for i in picture_ids]
    categories = [{"id": i, "name": f"class {i}"} for i in category_ids]
    return {"images": images, "annotations": annotations, "categories": categories}


def perfect(content):
    return [
        {key: entry[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.9}
        for entry in content["annotations"]
    ]


@pytest.mark.parametrize("metric", ["box", "mask"])
@pytest.mark.parametrize(
    "ids", [((0, 1), (0, 1)), ((7, 3), (90, 2)), (("b", "a"), ("dog", "cat")), ((0, "x"), (5, "y"))]
)
def test_ids_of_any_kind_and_annotations_without_area(ids, metric):
    # pycocotools by itself gives less than 1.0 here: it takes annotation 0 for "not matched".
    content = truth(*ids)
    scores = coco_ap(content, perfect(content), metric)
    assert scores.summary["AP"] == pytest.approx(1.0)
    assert scores.per_class == {f"class {i}": pytest.approx(1.0) for i in ids[1]}


def test_missing_areas_are_the_masks_or_boxes():
    content = truth()
    assert coco_ap(content, perfect(content), "mask").summary["APs"] == pytest.approx(1.0)
    for entry in content["annotations"]:
        del entry["segmentation"]
        entry["bbox"] = [0, 0, 40, 40]  # 1600 px: of medium size
    summary = coco_ap(content, perfect_boxes(content), "box").summary
    assert (summary["APs"], summary["APm"]) == (-1, pytest.approx(1.0))


def perfect_boxes(content):
    keys = ("image_id", "category_id", "bbox")
    return [{key: e[key] for key in keys} | {"score": 0.9} for e in content["annotations"]]


def test_shared_annotation_ids_do_not_hide_each_other():
    content = truth()
    for entry in content["annotations"]:
        entry["id"] = 5
    assert coco_ap(content, perfect(content), "box").summary["AP"] == pytest.approx(1.0)
    assert coco_ap(content, perfect(content)[1:], "box").summary["AP"] < 0.9


def test_a_crowd_region_takes_detections_without_harm():
    content = truth()
    content["annotations"][1]["iscrowd"] = 1
    found = perfect(content)
    inside = dict(found[1], bbox=[31, 21, 5, 5], segmentation=rectangle(31, 21, 5, 5))
    assert coco_ap(content, [*found, inside], "mask").summary["AP"] == pytest.approx(1.0)


def test_box_and_mask_areas_are_each_their_own():
    # A box of medium area around a thin mask: box AP ranks it as medium, mask AP as small.
    content = truth()
    content["annotations"] = content["annotations"][:1]
    entry = content["annotations"][0]
    entry.update(bbox=[0, 0, 40, 40], segmentation=rectangle(0, 0, 40, 1))
    extra = dict(perfect(content)[0], bbox=[10, 0, 40, 40], segmentation=rectangle(0, 30, 40, 1))
    found = [*perfect(content), extra]
    for metric, area in (("box", 1600), ("mask", 40)):
        entry["area"] = area
        summary = coco_ap(content, found, metric).summary
        present = "APm" if metric == "box" else "APs"
        assert summary[present] == pytest.approx(1.0), metric


def test_nothing_found_is_zero():
    content = truth()
    scores = coco_ap(content, [], "mask")
    assert scores.summary["AP"] == 0 and scores.summary["APl"] == -1
    assert scores.per_class == {"class 0": 0.0, "class 1": 0.0}


def test_table_shows_percent_and_classes():
    content = truth()
    text = table({m: coco_ap(content, perfect(content), m) for m in ("box", "mask")}, True)
    lines = text.splitlines()
    assert lines[0].split() == list(NAMES)
    assert re.match(r"box +100.00 +100.00", lines[1])
    assert lines[2].split()[0] == "mask" and "-" in lines[2]  # no large objects
    assert lines[-1].split() == ["class", "1", "100.00", "100.00"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "entry 0 .picture 99.*image_id 99 is not a picture.*2 pictures"),
        ({"category_id": "cat"}, "category_id 'cat' is not a category of the ground truth"),
        ({"score": None}, "score: expected a number, got None"),
        ({"score": float("nan")}, "score: expected a number, got nan"),
        ({"segmentation": None}, "segmentation: expected a compressed RLE, got None"),
        ({"segmentation": [[0, 0, 1, 1, 1, 0]]}, "expected a compressed RLE"),
        (
            {"segmentation": rectangle(0, 0, 3, 3, (60, 40))},
            r"size \[height, width\] \[40, 60\], the picture's, got \[60, 40\]",
        ),
    ],
)
def test_results_that_do_not_fit(change, message):
    content = truth()
    found = perfect(content)
    found[0] |= change
    with pytest.raises(DatasetError, match=message):
        coco_ap(content, found, "mask")


def test_a_result_without_a_box():
    content = truth()
    found = perfect(content)
    found[0]["bbox"] = [1, 2, 3]
    with pytest.raises(DatasetError, match=r"bbox: expected \[x, y, width, height\], got"):
        coco_ap(content, found, "box")


def test_ground_truth_without_masks_has_no_mask_ap():
    content = truth()
    del content["annotations"][2]["segmentation"]
    with pytest.raises(DatasetError, match="annotation 2: has no segmentation"):
        coco_ap(content, [], "mask")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("{}", "expected a list of detections, got a dict"),
        ('[{"image_id": 1, "score": 1, "bbox": []}]', "entry 0 has no category_id"),
        ('[{"image_id": 1, "category_id": 1, "score": 1}]', "entry 0 has no bbox or segmentation"),
        (
            '[{"image_id": 1, "category_id": 1, "score": 1, "segmentation": [[1, 2]]}]',
            "entry 0: segmentation: expected an RLE, got",
        ),
        (
            '[{"image_id": 1, "category_id": 1, "score": 1,'
            ' "segmentation": {"size": [4, 4], "counts": "~~~"}}]',
            "entry 0: RLE: counts is not a COCO RLE string",
        ),
    ],
)
def test_unreadable_results(text, message, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_results(path)


def test_a_missing_results_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read .*nothing\.json"):
        read_results(tmp_path / "nothing.json")
