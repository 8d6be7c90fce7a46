"""Pictures of predictions beside ground truth, of the first pictures of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from htc.data import CocoDataset, Record, read_picture
from htc.detections import Detections
from htc.visualize import draw

GAP = 6  # px of white between the two


def ground_truth(record: Record, class_names: list[str]) -> Detections:
    """A record's instances as Detections of score 1."""
    size, masks = (record.height, record.width), []
    for segmentation in record.segmentations:
        if isinstance(segmentation, dict):
            masks.append(segmentation)
        elif segmentation is not None:
            polygons = [polygon.tolist() for polygon in segmentation]
            masks.append(rle_tools.merge(rle_tools.frPyObjects(polygons, *size)))
    scores = np.ones(len(record.labels), np.float32)
    own = masks if len(masks) == len(record.labels) else None
    return Detections(record.boxes, scores, record.labels, own, size, class_names)


def write_overlays(
    dataset: CocoDataset, examples: dict[int, Detections], folder: Path, score: float = 0.5
) -> list[Path]:
    """One JPEG a picture: ground truth at the left, predictions of at least `score` at the right.

    Args:
        examples: Detections by index in the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, found in examples.items():
        record = dataset[index]
        picture = read_picture(record.file, record.name)
        truth = ground_truth(record, dataset.class_names)
        halves = [draw(picture, truth), draw(picture, found.above(score))]
        gap = np.full((halves[0].shape[0], GAP, 3), 255, np.uint8)
        path = folder / f"{index:04d}.jpg"
        Image.fromarray(np.hstack([halves[0], gap, halves[1]])).save(path, quality=92)
        written.append(path)
    return written
