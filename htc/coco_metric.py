"""COCO's average precision of boxes and masks, computed by pycocotools.

Masks stay RLEs from the operator to the figures: memory grows with the detections, not with pixels.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from htc.data.annotations import load_json, sort_ids
from htc.data.errors import DatasetError
from htc.data.segmentation import SegmentationError, parse_segmentation

# As pycocotools' own table: averaged over IoU 0.5:0.95, at one IoU, by the area of the object; then
# the recall of 1, 10 and 100 detections a picture, and of 100 by area.
PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
RECALLS = ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
NAMES = (*PRECISIONS, *RECALLS)
IOU_TYPES = {"box": "bbox", "mask": "segm"}

Progress = Callable[[int, int], None]


@dataclass
class Scores:
    """summary: by NAMES, in 0..1, or -1 where there is no such object. per_class: AP by name."""

    summary: dict[str, float]
    per_class: dict[str, float]


def coco_ap(
    annotations: str | Path | dict,
    results: list[dict],
    metric: str,
    progress: Progress | None = None,
) -> Scores:
    """The AP and AR of results against ground truth.

    The figures are those of pycocotools, with three differences in what is accepted: ids may be of
    any kind (pycocotools takes an annotation with id 0 for "no match"), duplicate annotation ids do
    not hide each other, and `area` and `iscrowd` may be missing. Polygons are COCO's.

    Args:
        annotations: a COCO json, or its content.
        results: entries of a COCO results file; none is changed. Those that lack the field that the
            metric needs are refused.
        metric: "box" or "mask".
        progress: called now and then with (steps done, of how many).

    Raises:
        DatasetError: a result of a picture or class that the ground truth does not have, or without
            a usable box or mask; ground truth that cannot be used.
    """
    if metric not in IOU_TYPES:
        raise ValueError(f"metric: expected one of {tuple(IOU_TYPES)}, got {metric!r}")
    content = annotations if isinstance(annotations, dict) else load_json(annotations)
    truth = _Truth(content, metric)
    # pycocotools prints as it goes, and its table once more at the end.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = _Evaluator(
            truth.indexed(truth.annotations),
            truth.indexed(truth.detections(results)),
            IOU_TYPES[metric],
        )
        evaluator.progress = progress
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    precision = evaluator.eval["precision"]  # [IoU, recall, class, area, detections]
    per_class = {}
    for label, name in enumerate(truth.class_names):
        values = precision[:, :, label, 0, -1]
        values = values[values > -1]
        per_class[name] = float(np.mean(values)) if values.size else -1.0
    return Scores(dict(zip(NAMES, map(float, evaluator.stats), strict=True)), per_class)


def read_results(path: str | Path) -> list[dict]:
    """A COCO results file: a list of {image_id, category_id, score, bbox and/or segmentation}.

    Raises:
        DatasetError: no such file, no json, or not of this form; names the first wrong entry.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"results: cannot read {path}: {error}") from None
    if not isinstance(results, list):
        raise DatasetError(
            f"results: {path}: expected a list of detections, got a {type(results).__name__}"
        )
    for number, entry in enumerate(results):
        missing = [key for key in ("image_id", "category_id", "score") if key not in entry]
        if missing or not ("bbox" in entry or "segmentation" in entry):
            needed = ", ".join(missing) or "bbox or segmentation"
            raise DatasetError(f"results: {path}: entry {number} has no {needed}")
        mask = entry.get("segmentation")
        if mask is not None:
            _check_mask(mask, f"results: {path}: entry {number}")
    return results


def table(scores: dict[str, Scores], classwise: bool = False) -> str:
    """Scores by metric, as a table; with a row a class if asked for."""
    width = max([4, *(len(n) for s in scores.values() for n in s.per_class if classwise)])
    lines = [f"{'':<{width}} " + " ".join(f"{name:>6}" for name in NAMES)]
    for metric, found in scores.items():
        values = " ".join(_percent(found.summary[name]) for name in NAMES)
        lines.append(f"{metric:<{width}} {values}")
    if classwise:
        lines.append("")
        lines.append(f"{'AP':<{width}} " + " ".join(f"{metric:>6}" for metric in scores))
        for name in next(iter(scores.values())).per_class:
            values = " ".join(_percent(found.per_class[name]) for found in scores.values())
            lines.append(f"{name:<{width}} {values}")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{'-':>6}" if value < 0 else f"{100 * value:6.2f}"


def _check_mask(mask, where: str) -> None:
    size = mask.get("size") if isinstance(mask, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise DatasetError(f"{where}: segmentation: expected an RLE, got {str(mask)[:60]}")
    try:
        parse_segmentation(mask, *size)
    except SegmentationError as error:
        if error.kind != "empty mask":  # a detection may be empty
            raise DatasetError(f"{where}: {error}") from None


class _Truth:
    """Ground truth with ids that count from 1, in the order of the original ones.

    The order is pycocotools' own: detections of equal score are ranked by it.
    """

    def __init__(self, content: dict, metric: str):
        self.metric = metric
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        category_ids = sort_ids(names)
        self.class_names = [names[category_id] for category_id in category_ids]
        self.pictures = {picture_id: n for n, picture_id in enumerate(sort_ids(sizes), 1)}
        self.categories = {category_id: n for n, category_id in enumerate(category_ids, 1)}
        self.sizes = sizes
        self.annotations = [
            self._annotation(number, entry)
            for number, entry in enumerate(content["annotations"], 1)
        ]

    def indexed(self, annotations: list[dict]) -> COCO:
        """What pycocotools wants, of ground truth or of detections."""
        images = [
            {"id": n, "height": self.sizes[picture_id][0], "width": self.sizes[picture_id][1]}
            for picture_id, n in self.pictures.items()
        ]
        categories = [{"id": n} for n in self.categories.values()]
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
        coco.createIndex()
        return coco

    def _annotation(self, number: int, entry: dict) -> dict:
        where = f"ground truth: annotation {entry.get('id')!r}"
        picture, category = self._ids(entry, where)
        result = {
            "id": number,
            "image_id": picture,
            "category_id": category,
            "iscrowd": int(entry.get("iscrowd", 0)),
            "area": entry.get("area"),
        }
        size = self.sizes[entry["image_id"]]
        if self.metric == "box" or (result["area"] is None and entry.get("segmentation") is None):
            result["bbox"] = _box(entry, where)
        if result["area"] is None or self.metric == "mask":
            if entry.get("segmentation") is not None:
                result["segmentation"] = _usable(entry["segmentation"], size, where)
            elif self.metric == "mask":
                raise DatasetError(f"{where}: has no segmentation; box AP alone can be computed")
        if result["area"] is None:
            if "segmentation" in result:
                result["area"] = _mask_area(result["segmentation"], size)
            else:
                result["area"] = result["bbox"][2] * result["bbox"][3]
        return result

    def detections(self, results: list[dict]) -> list[dict]:
        """Results as pycocotools' loadRes prepares them: the area is that of the metric's shape."""
        found = []
        for number, entry in enumerate(results, 1):
            where = f"results: entry {number - 1} (picture {entry.get('image_id')!r})"
            picture, category = self._ids(entry, where)
            score = entry.get("score")
            if not isinstance(score, int | float) or not math.isfinite(score):
                raise DatasetError(f"{where}: score: expected a number, got {score!r}")
            detection = {"id": number, "image_id": picture, "category_id": category}
            detection.update(score=score, iscrowd=0)
            if self.metric == "box":
                detection["bbox"] = box = _box(entry, where)
                detection["area"] = box[2] * box[3]
            else:
                detection["segmentation"] = rle = self._rle(entry, where)
                # One at a time: of more than 255 in a list pycocotools 2.0 gives wrong areas.
                detection["area"] = float(rle_tools.area(rle))
            found.append(detection)
        return found

    def _ids(self, entry: dict, where: str) -> tuple[int, int]:
        picture, category = entry.get("image_id"), entry.get("category_id")
        if picture not in self.pictures:
            raise DatasetError(
                f"{where}: image_id {picture!r} is not a picture of the ground truth"
                f" ({len(self.pictures)} pictures): is this the right annotation file?"
            )
        if category not in self.categories:
            raise DatasetError(
                f"{where}: category_id {category!r} is not a category of the ground truth"
                f" ({', '.join(map(repr, list(self.categories)[:8]))}, ...)"
            )
        return self.pictures[picture], self.categories[category]

    def _rle(self, entry: dict, where: str) -> dict:
        mask, size = entry.get("segmentation"), list(self.sizes[entry["image_id"]])
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str | bytes):
            raise DatasetError(
                f"{where}: segmentation: expected a compressed RLE, got {str(mask)[:60]}"
            )
        if list(mask["size"]) != size:
            raise DatasetError(
                f"{where}: segmentation: expected an RLE of size [height, width] {size}, the"
                f" picture's, got {list(mask['size'])}"
            )
        return mask


class _Evaluator(COCOeval):
    """pycocotools' evaluation, which says how far it is."""

    progress: Progress | None = None
    _done = 0

    def evaluateImg(self, *arguments):
        if self.progress is not None:
            total = len(self.params.imgIds) * len(self.params.catIds) * len(self.params.areaRng)
            self._done += 1
            if self._done == total or self._done % max(1, total // 100) == 0:
                self.progress(self._done, total)
        return super().evaluateImg(*arguments)


def _box(entry: dict, where: str) -> list[float]:
    box = entry.get("bbox")
    numbers = isinstance(box, list | tuple) and all(isinstance(v, int | float) for v in box)
    if not numbers or len(box) != 4 or not all(map(math.isfinite, box)):
        raise DatasetError(f"{where}: bbox: expected [x, y, width, height], got {str(box)[:60]}")
    return list(box)


def _usable(segmentation, size: tuple[int, int], where: str):
    """A segmentation as it is, once it is known that pycocotools can read it."""
    try:
        parse_segmentation(segmentation, *size)
    except SegmentationError as error:
        if error.kind != "empty mask":
            raise DatasetError(f"{where}: {error}") from None
        return rle_tools.encode(np.zeros(size, np.uint8, order="F"))
    return segmentation


def _mask_area(segmentation, size: tuple[int, int]) -> float:
    if isinstance(segmentation, list) or isinstance(segmentation["counts"], list):
        segmentation = rle_tools.frPyObjects(segmentation, *size)
    rle = rle_tools.merge(segmentation) if isinstance(segmentation, list) else segmentation
    return float(rle_tools.area(rle))
