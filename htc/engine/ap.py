"""COCO average precision of a list of results, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
IOU_TYPES = {"box": "bbox", "mask": "segm"}


@dataclass
class Scores:
    """summary: AP, AP50, ... in 0..1 (-1: there are no such objects); per_class: AP by name."""

    summary: dict[str, float]
    per_class: dict[str, float]


def coco_ap(annotations: Path, results: list[dict], metric: str) -> Scores:
    """AP of results against a COCO json.

    Args:
        annotations: the ground truth file.
        results: entries of a COCO results file; those of other kinds ("box" alone) are not changed.
        metric: "box" or "mask".
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO(str(annotations))
        names = {category["id"]: category["name"] for category in truth.cats.values()}
        if not results:
            return Scores(dict.fromkeys(NAMES, 0.0), dict.fromkeys(names.values(), 0.0))
        # loadRes fills in area from the mask where there is one and no box: box AP wants the box's.
        kept = ("image_id", "category_id", "score", "bbox" if metric == "box" else "segmentation")
        found = truth.loadRes([{name: entry[name] for name in kept} for entry in results])
        evaluator = COCOeval(truth, found, IOU_TYPES[metric])
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    precision = evaluator.eval["precision"]  # [IoU, recall, class, area, detections]
    per_class = {}
    for index, category in enumerate(evaluator.params.catIds):
        values = precision[:, :, index, 0, -1]
        values = values[values > -1]
        per_class[names[category]] = float(np.mean(values)) if values.size else -1.0
    summary = dict(zip(NAMES, (float(v) for v in evaluator.stats[:6]), strict=True))
    return Scores(summary, per_class)
