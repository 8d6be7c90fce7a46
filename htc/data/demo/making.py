"""Writes the demo pictures, their COCO json and their semantic maps."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from htc.data.demo.scene import STUFF_NAMES, THINGS, Scene, Thing, draw_scene
from htc.data.errors import DatasetError
from htc.data.paths import SPLITS, SplitPaths
from htc.outlines import outlines

logger = logging.getLogger("htc")
VERSION = 6  # to be raised when the same seed gives other pictures: old folders are not used then
RLE_SHARE = 0.15  # of the objects without holes are written as RLE all the same

_Progress = Callable[[int, int], None]


def make_demo(
    root: str | Path,
    seed: int = 0,
    train_pictures: int = 400,
    val_pictures: int = 80,
    size: int = 192,
    progress: _Progress | None = None,
) -> Path:
    """The folder of the demo data set under root; generated unless it is there already.

    The same arguments give the same files. Several processes may call this at once: the folder
    appears under its name when it is complete.

    Args:
        size: longer side, px; the shorter one is 2/3 to 3/4 of it, as photographs have it.
        progress: called with (pictures done, of how many).

    Raises:
        DatasetError: a size or number out of range; the folder cannot be written.
    """
    if min(train_pictures, val_pictures) < 1 or size < 32 or seed < 0:
        raise DatasetError(
            "demo data: expected at least 1 picture of each split, size >= 32 and seed >= 0, got"
            f" {train_pictures}, {val_pictures}, {size}, {seed}"
        )
    root = Path(root)
    name = f"v{VERSION}-seed{seed}-{size}px-{train_pictures}+{val_pictures}"
    if (root / name).is_dir():
        return root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=root))
        try:
            total = train_pictures + val_pictures
            logger.info("drawing %d demo pictures, once, into %s", total, root / name)
            for split, start, count in (
                ("train", 0, train_pictures),
                ("val", train_pictures, val_pictures),
            ):
                done = None if progress is None else lambda n, s=start: progress(s + n, total)
                _write_split(partial, split, count, seed, size, done)
            partial.chmod(0o755)  # mkdtemp's is for the owner alone
            _rename(partial, root / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"demo data: cannot write {root / name}: {error}") from None
    return root / name


def demo_paths(root: Path, split: str) -> SplitPaths:
    """The files of one split of a demo folder."""
    annotations = root / "annotations" / f"instances_{split}.json"
    return SplitPaths(root / split, annotations, root / "semantic" / split)


def _rename(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError:
        if not final.is_dir():  # another process was faster; its files are the same
            raise


def _write_split(root: Path, split: str, count: int, seed: int, size: int, done) -> None:
    paths = demo_paths(root, split)
    for folder in (paths.images, paths.annotations.parent, paths.semantic):
        folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        random = np.random.default_rng((seed, SPLITS.index(split), index))
        long, short = size, round(size * random.uniform(2 / 3, 3 / 4))
        height, width = (short, long) if random.random() < 0.65 else (long, short)
        scene = draw_scene(random, height, width)
        name = f"{index:05d}.jpg"
        Image.fromarray(scene.picture).save(paths.images / name, quality=92)
        Image.fromarray(scene.semantic).save(paths.semantic_file(name))
        images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        annotations += _annotations(random, scene, index + 1, len(annotations) + 1)
        if done is not None:
            done(index + 1)
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(THINGS)]
    info = {"description": f"HTC demo data, version {VERSION}, seed {seed}"}
    stuff = [{"id": len(THINGS) + i, "name": name} for i, name in enumerate(STUFF_NAMES)]
    content = {
        "info": info,
        "images": images,
        "annotations": annotations,
        "categories": categories,
        "semantic_classes": [{"id": i, "name": name} for i, name in enumerate(THINGS)] + stuff,
    }
    paths.annotations.write_text(json.dumps(content))


def _annotations(random, scene: Scene, picture_id: int, first_id: int) -> list[dict]:
    result = []
    for thing in scene.things:
        ys, xs = np.nonzero(thing.visible)
        if ys.size == 0:
            continue
        left, top = int(xs.min()), int(ys.min())
        result.append(
            {
                "id": first_id + len(result),
                "image_id": picture_id,
                "category_id": thing.label + 1,
                "iscrowd": int(thing.crowd),
                "area": int(ys.size),
                "bbox": [left, top, int(xs.max()) + 1 - left, int(ys.max()) + 1 - top],
                "segmentation": _segmentation(random, thing),
            }
        )
    return result


def _segmentation(random, thing: Thing):
    """Polygons where they can say it; else, and now and then, RLE of either kind."""
    polygons, holes = outlines(thing.visible)
    if not thing.crowd and not holes and random.random() >= RLE_SHARE:
        return polygons
    if thing.crowd or random.random() < 0.5:
        return {"size": list(thing.visible.shape), "counts": _runs(thing.visible)}
    rle = rle_tools.encode(np.asfortranarray(thing.visible, np.uint8))
    return {"size": list(thing.visible.shape), "counts": rle["counts"].decode()}


def _runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ... down the columns."""
    flat = mask.ravel(order="F").astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs
