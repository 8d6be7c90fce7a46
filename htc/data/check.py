"""Pre-flight check of a data set: everything that is wrong with it, counted, in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htc.config.run_schema import Config
from htc.data.annotations import Annotations, Picture, read_annotations
from htc.data.errors import ChannelError, DatasetError
from htc.data.paths import SplitPaths, split_paths
from htc.data.pictures import check_size, picture_size, read_label_map, read_picture
from htc.data.problems import Problems
from htc.data.transforms import IGNORE_LABEL

QUICK_PICTURES = 16  # decoded by the quick form


@dataclass
class SplitReport:
    """What was found in one split.

    pixels: [256] int64, pixels of each semantic id; pictures_with: [256], maps that have the id.
    """

    split: str
    paths: SplitPaths
    annotations: Annotations
    problems: Problems
    num_semantic_classes: int
    decoded: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    pictures_with: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def text(self) -> str:
        """The whole report of this split."""
        pictures = self.annotations.pictures
        instances = sum(len(picture.labels) for picture in pictures)
        crowd = sum(int(picture.crowd.sum()) for picture in pictures)
        lines = [
            f"{self.split}: {self.paths.annotations}",
            f"  {len(pictures)} pictures ({self.decoded} decoded), {instances} instances"
            f" ({crowd} crowd), {len(self.annotations.class_names)} classes",
        ]
        if self.paths.semantic is None:
            lines.append(f"  no semantic maps ({self.paths.semantic_notice})")
        elif self.pixels.any():
            lines += [f"  {line}" for line in self._semantic_lines()]
        return "\n".join([*lines, *(f"  {line}" for line in self.problems.table().splitlines())])

    def _semantic_lines(self):
        classes, total = self.num_semantic_classes, self.pixels.sum()
        used = int((self.pixels[:classes] > 0).sum())
        inside = self.pixels[:classes].sum() / total
        ignored = self.pixels[IGNORE_LABEL] / total
        yield (
            f"semantic ids: {used} of 0..{classes - 1} used on {inside:.1%} of the pixels,"
            f" {IGNORE_LABEL} (ignored) on {ignored:.1%}"
        )
        outside = [i for i in np.flatnonzero(self.pixels) if classes <= i != IGNORE_LABEL]
        if not outside:
            return
        yield f"out of range (num_semantic_classes is {classes}), by id:"
        largest = max(self.pixels[outside])
        for label in outside:
            bar = "#" * max(1, round(30 * self.pixels[label] / largest))
            share = self.pixels[label] / total
            yield f"  {label:>3} {share:>7.2%} in {self.pictures_with[label]:>6} maps {bar}"


def check_split(
    config: Config,
    split: str,
    quick: bool = False,
    examples: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> SplitReport:
    """Checks "train" or "val".

    The quick form reads the json, looks for every file, and decodes a few pictures; the full one
    decodes all of them and looks for polygons that cross themselves.

    Args:
        examples: shown of each kind of problem.
        progress: called with (pictures done, of how many).

    Raises:
        DatasetError: there is nothing to check: no such file, not a COCO json.
    """
    paths = split_paths(config.data, split)
    masks = config.model.mask_head.enabled
    annotations = read_annotations(paths.annotations, masks, not quick, examples)
    problems, classes = annotations.problems, len(annotations.class_names)
    if classes != config.num_classes:
        problems.add(
            "class count",
            f"the json has {classes}, the configuration has {config.num_classes}; set"
            f" -o num_classes={classes}",
        )
    report = SplitReport(split, paths, annotations, problems, config.num_semantic_classes)
    # At test no semantic maps are read.
    semantic = split == "train" and config.model.semantic.enabled and paths.semantic is not None
    pictures = annotations.pictures
    if quick:
        _check_files(pictures, paths, semantic, problems)
        step = max(1, len(pictures) // QUICK_PICTURES)
        pictures = pictures[::step][:QUICK_PICTURES]
    files = _Files(paths, semantic, config.num_semantic_classes, quick)
    # Threads are enough: decoding leaves Python alone.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (found, pixels, decoded) in enumerate(pool.map(files.check, pictures), 1):
            for kind, text in found:
                problems.add(kind, text)
            report.decoded += decoded
            report.pixels += pixels
            report.pictures_with += pixels > 0
            if progress is not None:
                progress(done, len(pictures))
    return report


def quick_check(config: Config, splits: Iterable[str] = ("train", "val")) -> list[SplitReport]:
    """The quick form, before training; look at `report.problems.errors()`."""
    return [check_split(config, split, quick=True) for split in splits]


class _Files:
    """The checks of one picture's files, run in threads."""

    def __init__(self, paths: SplitPaths, semantic: bool, num_semantic: int, quick: bool):
        self.paths = paths
        self.semantic = semantic
        self.num_semantic = num_semantic
        self.quick = quick  # then missing files were counted before

    def check(self, picture: Picture) -> tuple[list[tuple[str, str]], np.ndarray, bool]:
        """(problems found, pixels of each semantic id, whether the picture could be decoded)."""
        found: list[tuple[str, str]] = []
        name, path = f"picture {picture.picture_id}", self.paths.images / picture.file_name
        decoded = False
        if not path.is_file():
            if not self.quick:
                found.append(("missing picture", f"{name}: no such file: {path}"))
        else:
            decoded = _check_picture(found, picture, name, path)
        pixels = np.zeros(256, np.int64)
        if self.semantic:
            path = self.paths.semantic_file(picture.file_name)
            if path.is_file():
                pixels = self._check_semantic(found, picture, name, path)
            elif not self.quick:
                found.append(("missing semantic map", f"{name}: no such file: {path}"))
        return found, pixels, decoded

    def _check_semantic(self, found: list, picture: Picture, name: str, path: Path) -> np.ndarray:
        try:
            labels = read_label_map(path, name)
        except DatasetError as error:
            several = isinstance(error, ChannelError)
            kind = "semantic channels" if several else "unreadable semantic map"
            found.append((kind, str(error)))
            return np.zeros(256, np.int64)
        expected = picture.height, picture.width
        try:
            check_size(f"semantic map of {name}", path, expected, labels.shape, 1)
        except DatasetError as error:
            found.append(("semantic size", str(error)))
        pixels = np.bincount(labels.ravel(), minlength=256)
        outside = [
            i for i in np.flatnonzero(pixels).tolist() if self.num_semantic <= i != IGNORE_LABEL
        ]
        if outside:
            ids = ", ".join(map(str, outside[:6])) + (", ..." if len(outside) > 6 else "")
            found.append(
                (
                    "semantic ids",
                    f"{name}: {path}: expected 0..{self.num_semantic - 1} or {IGNORE_LABEL},"
                    f" got {ids}",
                )
            )
        return pixels


def _check_picture(found: list, picture: Picture, name: str, path: Path) -> bool:
    """Whether the file can be decoded."""
    try:
        shape = read_picture(path, name).shape[:2]
    except DatasetError as error:
        found.append(("unreadable picture", str(error)))
        return False
    expected = picture.height, picture.width
    if shape != expected:
        height, width, turned = picture_size(path, name)
        try:
            check_size(name, path, expected, (height, width), turned)
        except DatasetError as error:
            found.append(("picture size", str(error)))
    return True


def _check_files(pictures: list[Picture], paths: SplitPaths, semantic: bool, problems) -> None:
    """Count the files that are not there, from listings of the folders: quick for any number."""
    listings: dict[Path, set[str]] = {}

    def there(path: Path) -> bool:
        folder = path.parent
        if folder not in listings:
            listings[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        return path.name in listings[folder]

    for picture in pictures:
        name = f"picture {picture.picture_id}"
        path = paths.images / picture.file_name
        if not there(path):
            problems.add("missing picture", f"{name}: no such file: {path}")
        if semantic:
            path = paths.semantic_file(picture.file_name)
            if not there(path):
                problems.add("missing semantic map", f"{name}: no such file: {path}")
