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
SAME = 0.5  # box IoU from which a prediction and a ground truth get the same colour


def ground_truth(record: Record, class_names: list[str]) -> Detections:
    """A record's instances and crowd regions as Detections of score 1, the crowds last."""
    size = (record.height, record.width)
    segmentations = [*record.segmentations, *record.crowd_segmentations]
    masks = [_rle(segmentation, size) for segmentation in segmentations]
    labels = np.concatenate([record.labels, record.crowd_labels])
    boxes = np.concatenate([record.boxes, record.crowd_boxes])
    own = None if any(mask is None for mask in masks) else masks
    return Detections(boxes, np.ones(len(labels), np.float32), labels, own, size, class_names)


def matched_colours(truth: Detections, found: Detections) -> list[int]:
    """A colour number for each prediction: that of its ground truth, or one that none has.

    Best score first, each takes the ground truth of its class that its box overlaps most, if that
    is free and the IoU is SAME or more. So an object has one colour on both sides.
    """
    free, numbers = set(range(len(truth))), []
    crowd = np.zeros(len(truth), np.uint8)
    overlaps = np.asarray(
        rle_tools.iou(_xywh(found.boxes), _xywh(truth.boxes), crowd), np.float64
    ).reshape(len(found), len(truth))
    for row in range(len(found)):
        best = max(
            (t for t in free if truth.labels[t] == found.labels[row]),
            key=lambda t: overlaps[row, t],
            default=None,
        )
        if best is not None and overlaps[row, best] >= SAME:
            free.remove(best)
            numbers.append(best)
        else:
            numbers.append(len(truth) + row)
    return numbers


def side_by_side(
    picture: np.ndarray, record: Record, found: Detections, class_names: list[str]
) -> np.ndarray:
    """[H', W', 3] uint8: ground truth at the left, predictions at the right, neither squeezed."""
    truth = ground_truth(record, class_names)
    captions = [class_names[label] for label in record.labels]
    captions += [f"{class_names[label]}, crowd" for label in record.crowd_labels]
    left = draw(picture, truth, captions=captions)
    right = draw(picture, found, colours=matched_colours(truth, found))
    gap = np.full((left.shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([left, gap, right])


def write_overlays(
    dataset: CocoDataset, examples: dict[int, Detections], folder: Path, score: float = 0.5
) -> list[Path]:
    """One JPEG a picture (see `side_by_side`), predictions of at least `score`.

    Args:
        examples: Detections by index in the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, found in examples.items():
        record = dataset[index]
        picture = read_picture(record.file, record.name)
        both = side_by_side(picture, record, found.above(score), dataset.class_names)
        path = folder / f"{index:04d}.jpg"
        Image.fromarray(both).save(path, quality=92)
        written.append(path)
    return written


def _rle(segmentation, size: tuple[int, int]) -> dict | None:
    if segmentation is None or isinstance(segmentation, dict):
        return segmentation
    polygons = [np.asarray(polygon).ravel().tolist() for polygon in segmentation]
    return rle_tools.merge(rle_tools.frPyObjects(polygons, *size))


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
