"""A COCO-format data set: one record a picture, kept compact and shared by the loading processes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from htc.config.run_schema import Config
from htc.data.annotations import Picture, read_annotations
from htc.data.errors import DatasetError
from htc.data.paths import SplitPaths, split_paths
from htc.data.problems import DROPPED

CHECK_HINT = "python -m htc.data check lists them all"


@dataclass
class Record:
    """One picture.

    picture_id: as in the json. file: of the picture. height, width: px.
    boxes: [G, 4] float32 xyxy px. labels: [G] int64, 0 .. num_classes - 1.
    segmentations: one an instance (htc.data.masks.Segmentation), or None each.
    crowd_boxes, crowd_labels, crowd_segmentations: the same of crowd regions.
    semantic: file of the semantic map, or None.
    """

    picture_id: object
    file: Path
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    segmentations: list
    crowd_boxes: np.ndarray
    crowd_labels: np.ndarray
    crowd_segmentations: list
    semantic: Path | None

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"picture {self.picture_id}"


class CocoDataset:
    """The pictures of one annotation file; `dataset[index]` is a Record.

    class_names, category_ids: of label 0, 1, ...; sorted by category id.
    num_classes: how many.
    picture_ids: of each index.
    sizes: [N, 2] int32, (height, width).
    has_semantic: whether there are semantic maps; semantic_notice: if not, why.
    notices: lines for the log about what was left out.

    Args:
        paths: of the pictures, the json and the semantic maps.
        masks: read the segmentations; without them boxes alone are served.
        skip_empty: leave out pictures without an instance that can be trained on.

    Raises:
        DatasetError: anything in the json that cannot be trained on.
    """

    def __init__(self, paths: SplitPaths, masks: bool = True, skip_empty: bool = False):
        self.paths = paths
        annotations = read_annotations(paths.annotations, masks)
        _raise_errors(annotations.problems, paths.annotations)
        self.class_names = annotations.class_names
        self.category_ids = annotations.category_ids
        self.has_masks = masks
        self.has_semantic = paths.semantic is not None
        self.semantic_notice = paths.semantic_notice
        self.dropped = annotations.problems
        pictures = annotations.pictures
        if skip_empty:
            pictures = [picture for picture in pictures if not picture.crowd.all()]
        if not pictures:
            what = "no picture with instances" if annotations.pictures else "no pictures"
            raise DatasetError(f"annotations: {paths.annotations}: {what}")
        self.notices = list(_notices(annotations.problems))
        if len(pictures) < len(annotations.pictures):
            left = len(annotations.pictures) - len(pictures)
            self.notices.append(f"{left} pictures without instances are left out")
        self.picture_ids = [picture.picture_id for picture in pictures]
        self.sizes = np.array([(picture.height, picture.width) for picture in pictures], np.int32)
        # One buffer rather than a million small objects: processes share it without a copy.
        packed = [_pack(picture) for picture in pictures]
        self._ends = np.cumsum([len(item) for item in packed])
        self._bytes = np.frombuffer(b"".join(packed), np.uint8)

    @classmethod
    def from_config(cls, config: Config, split: str) -> CocoDataset:
        """The "train" or "val" pictures of a configuration; demo data are made where they are missing.

        Raises:
            DatasetError: see above; the classes are not those that the configuration has.
        """
        train = split == "train"
        dataset = cls(
            split_paths(config.data, split),
            masks=config.model.mask_head.enabled,
            skip_empty=train and config.data.skip_empty,
        )
        dataset.check_classes(config.num_classes)
        return dataset

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.picture_ids)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0..{len(self) - 1}, got {index}")
        start = self._ends[index - 1] if index else 0
        picture = Picture(*pickle.loads(self._bytes[start : self._ends[index]].tobytes()))
        crowd, instances = np.flatnonzero(picture.crowd), np.flatnonzero(~picture.crowd)
        semantic = None
        if self.paths.semantic is not None:
            semantic = self.paths.semantic_file(picture.file_name)
        return Record(
            picture.picture_id,
            self.paths.images / picture.file_name,
            picture.height,
            picture.width,
            picture.boxes[instances],
            picture.labels[instances],
            [picture.segmentations[i] for i in instances],
            picture.boxes[crowd],
            picture.labels[crowd],
            [picture.segmentations[i] for i in crowd],
            semantic,
        )

    def check_classes(self, num_classes: int) -> None:
        """Raise DatasetError unless the file has this many classes."""
        if self.num_classes == num_classes:
            return
        names = ", ".join(self.class_names[:8]) + (", ..." if self.num_classes > 8 else "")
        raise DatasetError(
            f"num_classes: the configuration has {num_classes}, {self.paths.annotations} has"
            f" {self.num_classes} ({names}); set -o num_classes={self.num_classes}"
        )


def _pack(picture: Picture) -> bytes:
    values = [getattr(picture, field.name) for field in fields(Picture)]
    return pickle.dumps(values, protocol=5)


def _raise_errors(problems, path: Path) -> None:
    errors = problems.errors()
    if errors:
        more = problems.total("error") - 1
        others = f" (and {more} more: {CHECK_HINT})" if more else ""
        raise DatasetError(f"annotations: {path}: {errors[0]}{others}")


def _notices(problems):
    left_out = problems.total(DROPPED)
    if left_out:
        kinds = ("box outside", "empty box", "empty mask")
        parts = ", ".join(f"{problems.counts[k]} {k}" for k in kinds if problems.counts[k])
        yield f"{left_out} instances are left out ({parts}); {CHECK_HINT}"
