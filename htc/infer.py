"""python -m htc.infer: finds objects in pictures; writes overlays and one COCO json."""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
from pathlib import Path

from htc.checkpoint import atomic_path
from htc.commands import command_parser, configuration, run, separate
from htc.config import ConfigError
from htc.data.pictures import SUFFIXES, read_picture
from htc.deploy.options import add_engine_options
from htc.engine.setup import prepare_threads

EPILOG = """\
examples:
  python -m htc.infer -o weights=output/htc_demo output/demo_data/*/val --output found
  python -m htc.infer -c htc_r50_fpn_1x_coco -o weights=r50.pth a.jpg "more/*.png" --output found
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("infer", __doc__.partition(": ")[2], EPILOG, single=True)
    result.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders, globs")
    result.add_argument("--output", metavar="DIR", type=Path, required=True, help="where to write")
    result.add_argument(
        "--score", type=float, default=0.5, help="lowest score drawn and written (default: 0.5)"
    )
    result.add_argument("--batch-size", type=int, default=1, metavar="N", help="pictures at a time")
    result.add_argument("--flip", action="store_true", help="also look at each picture mirrored")
    result.add_argument(
        "--short-sides", type=int, nargs="+", default=[], metavar="PX", help="also at these sizes"
    )
    result.add_argument(
        "--tile", type=int, default=0, metavar="PX",
        help="cut larger pictures into tiles of this side; objects across seams are put together",
    )  # fmt: skip
    result.add_argument(
        "--overlap", type=int, metavar="PX", help="shared by neighbouring tiles (default: tile / 4)"
    )
    result.add_argument("--no-overlays", action="store_true", help="write the json alone")
    add_engine_options(result)
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(separate(sys.argv[1:] if arguments is None else arguments))
    return run(lambda: infer(options))


def find_pictures(inputs: list[str]) -> list[Path]:
    """The picture files of files, folders (all levels) and globs, each once, in order.

    Raises:
        ConfigError: an input that is not there, or no picture at all.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        matches = [Path(text)] if Path(text).exists() else map(Path, sorted(glob.glob(text)))
        matches = list(matches)
        if not matches:
            raise ConfigError(f"INPUT: {text!r} is no file, no folder, and matches nothing")
        for path in matches:
            if path.is_dir():
                files = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES)
                found.update(dict.fromkeys(files))
            else:
                found[path] = None
    if not found:
        raise ConfigError(f"INPUT: no pictures ({', '.join(SUFFIXES)}) in {', '.join(inputs)}")
    return list(found)


def infer(options: argparse.Namespace) -> int:
    if not 0 <= options.score <= 1:
        raise ConfigError(f"--score: expected a number from 0 to 1, got {options.score}")
    if options.batch_size < 1:
        raise ConfigError(f"--batch-size: expected 1 or more, got {options.batch_size}")
    if options.tile < 0 or (options.tile and not 0 <= (options.overlap or 0) < options.tile):
        raise ConfigError(
            "--tile, --overlap: expected a tile of 1 px or more and an overlap less than it, got"
            f" {options.tile} and {options.overlap}"
        )
    if options.overlap is not None and not options.tile:
        raise ConfigError("--overlap: goes with --tile, which is not given")
    config = configuration(options)
    if not config.weights:
        raise ConfigError("weights: expected trained weights, got none; give -o weights=PATH")
    files = find_pictures(options.inputs)
    prepare_threads(config.runtime)
    from PIL import Image

    from htc.deploy import is_export
    from htc.engine.progress import progress_bar
    from htc.predictor import Predictor
    from htc.visualize import draw

    # Without -c, weights that training wrote say themselves what they are of.
    own = None if options.config is None and not _other_overrides(options) else config
    own = None if is_export(config.weights) else own
    predictor = Predictor(
        config.weights,
        own,
        config.runtime.device,
        options.precision,
        options.batch_size,
        options.engine,
        config.runtime.threads or None,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    began, bar = time.perf_counter(), progress_bar(len(files), what="pictures")
    for start in range(0, len(files), options.batch_size):
        chunk = files[start : start + options.batch_size]
        pictures = [read_picture(path, f"picture {path.name}") for path in chunk]
        found = predictor(
            pictures,
            options.score,
            options.flip,
            options.short_sides,
            options.tile,
            options.overlap,
        )
        for path, picture, detections in zip(chunk, pictures, found, strict=True):
            number = len(images) + 1
            height, width = detections.size
            images.append({"id": number, "file_name": str(path), "height": height, "width": width})
            annotations += detections.to_coco(number)
            if not options.no_overlays:
                # Numbered: files of the same name may come from several folders.
                name = f"{number:06d}_{path.stem}.jpg"
                overlay = Image.fromarray(draw(picture, detections))
                overlay.save(options.output / name, quality=92)
            bar.update()
    bar.close()
    names = predictor.class_names or [f"class {i}" for i in range(predictor.config.num_classes)]
    content = {
        "images": images,
        "annotations": [_annotation(i, entry) for i, entry in enumerate(annotations, 1)],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(names)],
    }
    with atomic_path(options.output / "detections.json") as temporary:
        temporary.write_text(json.dumps(content))
    seconds = (time.perf_counter() - began) / len(files)
    print(f"{len(files)} pictures, {len(annotations)} objects, {seconds:.3f} s a picture")
    print(f"{options.output / 'detections.json'}")
    return 0


def _other_overrides(options: argparse.Namespace) -> bool:
    """Whether -o changes more than where the weights are and where it runs."""
    return any(not text.startswith(("weights=", "runtime.")) for text in options.overrides)


def _annotation(number: int, entry: dict) -> dict:
    """A result as an annotation of a COCO json, so that tools can show the file by itself."""
    if "segmentation" in entry:
        from pycocotools import mask as rle_tools

        area = float(rle_tools.area(entry["segmentation"]))
    else:
        area = round(entry["bbox"][2] * entry["bbox"][3], 3)
    return {"id": number, "iscrowd": 0, "area": area, **entry}


if __name__ == "__main__":
    sys.exit(main())
