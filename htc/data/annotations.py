"""A COCO json to compact records, with every fault on the way counted."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htc.data.errors import DatasetError
from htc.data.problems import Problems
from htc.data.segmentation import SegmentationError, crosses_itself, parse_segmentation


@dataclass
class Picture:
    """One picture of the json and the instances that can be used.

    boxes: [G, 4] float32 xyxy. labels: [G] int64, 0 .. C - 1. crowd: [G] bool.
    segmentations: G of htc.data.masks.Segmentation; None each where masks are not read.
    """

    picture_id: object
    file_name: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    segmentations: list


@dataclass
class Annotations:
    """A whole file. category_ids and class_names are in the order of the labels: sorted by id."""

    category_ids: list
    class_names: list[str]
    pictures: list[Picture]
    problems: Problems


def sort_ids(ids) -> list:
    """Ids of any kind in one order: numbers by value, then texts."""
    return sorted(ids, key=lambda value: (isinstance(value, str), value))


def read_annotations(
    path: str | Path, masks: bool = True, look_closely: bool = False, examples_kept: int = 3
) -> Annotations:
    """Reads a COCO json of instances.

    An instance is left out, as the reference does, if its box lies outside the picture or is less
    than a pixel wide or high, if its area is 0, or if its mask is empty; all of it is counted.

    Args:
        path: the json.
        masks: read the segmentations too.
        look_closely: also look for polygons that cross themselves (slow).
        examples_kept: examples of each kind of problem.

    Raises:
        DatasetError: no such file, no json, or without the lists that COCO's format has.
    """
    content = load_json(path)
    reader = _Reader(Problems(examples_kept), masks, look_closely)
    category_ids, names = reader.categories(content["categories"])
    pictures = reader.pictures(content["images"])
    reader.instances(content["annotations"], category_ids)
    for picture in pictures:
        instances = reader.by_picture.pop(picture.picture_id, [])
        if not instances:
            reader.problems.add("no instances", _where(picture))
        boxes, labels, crowd, segmentations = (
            zip(*instances, strict=True) if instances else ([],) * 4
        )
        picture.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        picture.labels = np.array(labels, np.int64)
        picture.crowd = np.array(crowd, bool)
        picture.segmentations = list(segmentations)
    return Annotations(category_ids, names, pictures, reader.problems)


def load_json(path: str | Path) -> dict:
    """The json with its lists `images`, `annotations` and `categories` present.

    Raises:
        DatasetError: no such file, no json, or not of this format.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise DatasetError(f"annotations: no such file: {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"annotations: cannot read {path}: {error}") from None
    if not isinstance(content, dict):
        raise DatasetError(
            f"annotations: {path}: expected a COCO json (an object with images, annotations and"
            f" categories), got a {type(content).__name__}; a file of results goes elsewhere"
        )
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            hint = "; categories are needed to know the classes" if name == "categories" else ""
            raise DatasetError(
                f"annotations: {path}: expected a COCO json with a list {name!r}, got the keys"
                f" {sorted(content)}{hint}"
            )
    return content


def _where(picture: Picture) -> str:
    return f"picture {picture.picture_id} ({picture.file_name})"


class _Reader:
    """The passes over one json; it holds what they share."""

    def __init__(self, problems: Problems, masks: bool, look_closely: bool):
        self.problems = problems
        self.masks = masks
        self.look_closely = look_closely
        self.by_id: dict = {}
        self.by_picture: dict = {}

    def categories(self, entries: list) -> tuple[list, list[str]]:
        names: dict = {}
        for entry in entries:
            if not _is_id(_get(entry, "id")) or not isinstance(_get(entry, "name"), str):
                self._malformed("category", entry, "an id and a name")
            elif entry["id"] in names or entry["name"] in names.values():
                self.problems.add(
                    "duplicate category", f"category id {entry['id']!r}, name {entry['name']!r}"
                )
            else:
                names[entry["id"]] = entry["name"]
        ids = sort_ids(names)
        return ids, [names[category_id] for category_id in ids]

    def pictures(self, entries: list) -> list[Picture]:
        for entry in entries:
            size = _get(entry, "height"), _get(entry, "width")
            if not _is_id(_get(entry, "id")) or not isinstance(_get(entry, "file_name"), str):
                self._malformed("image", entry, "an id and a file_name")
            elif not all(isinstance(side, int) and side > 0 for side in size):
                self._malformed("image", entry, "height and width, whole numbers above 0")
            elif entry["id"] in self.by_id:
                first = self.by_id[entry["id"]].file_name
                self.problems.add(
                    "duplicate picture id",
                    f"id {entry['id']!r}: {first} and {entry['file_name']}",
                )
            else:
                picture = Picture(entry["id"], entry["file_name"], *size, None, None, None, None)
                self.by_id[entry["id"]] = picture
        return list(self.by_id.values())

    def instances(self, entries: list, category_ids: list) -> None:
        labels = {category_id: label for label, category_id in enumerate(category_ids)}
        seen = set()
        for entry in entries:
            if not isinstance(entry, dict):
                self._malformed("annotation", entry, "an object")
                continue
            annotation_id, category = entry.get("id"), entry.get("category_id")
            if annotation_id is not None:
                if annotation_id in seen:
                    self.problems.add(
                        "duplicate annotation id",
                        f"id {annotation_id!r}, picture {entry.get('image_id')!r}",
                    )
                seen.add(annotation_id)
            picture = self.by_id.get(entry.get("image_id"))
            if picture is None:
                self.problems.add(
                    "unknown picture",
                    f"annotation {annotation_id!r}: image_id {entry.get('image_id')!r}",
                )
                continue
            where = f"{_where(picture)}, annotation {annotation_id!r}"
            if category not in labels:
                self.problems.add(
                    "unknown category",
                    f"{where}: category_id {category!r}, expected one of {_few(category_ids)}",
                )
                continue
            instance = self._instance(entry, picture, where, labels[category])
            if instance is not None:
                self.by_picture.setdefault(picture.picture_id, []).append(instance)

    def _instance(self, entry: dict, picture: Picture, where: str, label: int):
        box = _box(entry.get("bbox"))
        if box is None:
            self.problems.add(
                "malformed entry",
                f"{where}: bbox: expected [x, y, width, height], got {str(entry.get('bbox'))[:60]}",
            )
            return None
        x, y, width, height = box
        area = entry.get("area", 1)
        if width < 1 or height < 1 or not isinstance(area, int | float) or area <= 0:
            self.problems.add("empty box", f"{where}: bbox {list(box)}, area {area}")
            return None
        if x >= picture.width or y >= picture.height or x + width <= 0 or y + height <= 0:
            self.problems.add("box outside", f"{where}: bbox {list(box)} in {_size(picture)}")
            return None
        beyond = max(-x, -y, x + width - picture.width, y + height - picture.height)
        if beyond > 1:
            self.problems.add("box reaches out", f"{where}: bbox {list(box)} in {_size(picture)}")
        segmentation = None
        if self.masks:
            segmentation = self._segmentation(entry, picture, where)
            if segmentation is None:
                return None
        return (x, y, x + width, y + height), label, bool(entry.get("iscrowd", 0)), segmentation

    def _segmentation(self, entry: dict, picture: Picture, where: str):
        if entry.get("segmentation") is None:
            self.problems.add(
                "malformed entry",
                f"{where}: has no segmentation (to train on boxes alone, set"
                " model.mask_head.enabled=false)",
            )
            return None
        try:
            segmentation, passed_over = parse_segmentation(
                entry["segmentation"], picture.height, picture.width
            )
        except SegmentationError as error:
            self.problems.add(error.kind, f"{where}: {error}")
            return None
        for _ in range(passed_over):
            self.problems.add("empty polygon", where)
        if self.look_closely and isinstance(segmentation, list):
            for polygon in segmentation:
                if crosses_itself(polygon):
                    self.problems.add(
                        "self-crossing polygon", f"{where}: of {polygon.size // 2} points"
                    )
        return segmentation

    def _malformed(self, what: str, entry, expected: str) -> None:
        self.problems.add("malformed entry", f"{what} {str(entry)[:80]}: expected {expected}")


def _get(entry, name: str):
    return entry.get(name) if isinstance(entry, dict) else None


def _is_id(value) -> bool:
    return isinstance(value, int | str)


def _box(value):
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in value):
        return None
    return tuple(value)


def _size(picture: Picture) -> str:
    return f"{picture.width} x {picture.height} px"


def _few(ids: list, count: int = 8) -> str:
    shown = ", ".join(repr(value) for value in ids[:count])
    return shown + (f", ... ({len(ids)} in all)" if len(ids) > count else "")
