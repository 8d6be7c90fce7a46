"""python -m htc.convert SRC DST: reads weights of any known kind, writes ours or mmdetection's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from htc.checkpoint import FORMAT
from htc.config import Config, ConfigError, load_config
from htc.weights.reading import FORMATS, WeightFile, check_claims, open_weights, read_tensor
from htc.weights.report import WeightReport
from htc.weights.tensors import WeightError
from htc.weights.translating import Translated, to_mmdetection, translate
from htc.weights.writing import SUFFIXES, write_weights

EPILOG = f"""\
SRC: {FORMATS}, with the names of mmdetection 2.x/3.x,
torchvision, timm, the older Paddle reproduction or this package. PyTorch is not needed and nothing
in the file is executed.

examples:
  python -m htc.convert htc_r50_fpn_1x_coco.pth htc_r50.safetensors
  python -m htc.convert --names mmdetection output/run/best.safetensors for_mmdet.npz
"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m htc.convert",
        description="Converts weights between formats and projects.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("src", metavar="SRC", type=Path, help="file to read")
    result.add_argument(
        "dst", metavar="DST", type=Path, help=f"file to write: {', '.join(SUFFIXES)}"
    )
    result.add_argument(
        "--names",
        choices=("htc", "mmdetection"),
        default="htc",
        help="whose parameter names and layout DST gets (default: htc, this package's)",
    )
    result.add_argument(
        "--ema", action="store_true", help="take the averaged weights where SRC holds both"
    )
    result.add_argument(
        "-c",
        dest="config",
        metavar="CONFIG",
        help="also report how DST fits the model of this configuration (a shipped name or a path)",
    )
    result.add_argument(
        "-o",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="settings over those of CONFIG, such as num_classes=5",
    )
    result.add_argument(
        "--dtype",
        choices=("keep", "float32", "float16"),
        default="keep",
        help="type of the values in DST (default: keep; bfloat16 becomes float32)",
    )
    return result


def convert(
    src: Path, dst: Path, names: str = "htc", ema: bool = False, dtype: str = "keep"
) -> tuple[WeightFile, Translated]:
    """Converts one file; returns what it was and which of its tensors were taken.

    Raises:
        WeightError: SRC cannot be read or has unknown names, DST cannot be written.
    """
    if dst.suffix not in SUFFIXES:
        raise WeightError(
            f"{dst}: expected DST to end in {', '.join(SUFFIXES)}, got {dst.suffix or 'no suffix'}"
        )
    if names == "mmdetection" and dst.suffix == ".pdparams":
        raise WeightError(f"{dst}: mmdetection's names are written to .npz or .safetensors")
    file = open_weights(src, ema)
    check_claims(file)
    try:
        translated = translate(file.tensors)
    except WeightError as error:
        raise WeightError(f"{src}: {error}") from None
    arrays = {}
    for name, tensor in translated.tensors.items():
        array = read_tensor(src, name, tensor)
        floating = np.issubdtype(array.dtype, np.floating)
        arrays[name] = array.astype(dtype) if dtype != "keep" and floating else array
    if names == "mmdetection":
        try:
            arrays = to_mmdetection(arrays)
        except WeightError as error:
            raise WeightError(f"{src}: {error}") from None
    kept = {key: value for key, value in file.metadata.items() if key not in FORMAT}
    # "pt" is how safetensors files say that they have PyTorch's layout.
    metadata = {**kept, **(FORMAT if names == "htc" else {"format": "pt"})}
    metadata["converted_from"] = src.name
    write_weights(dst, arrays, metadata)
    return file, translated


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code, 2 for a user's mistake."""
    options = parser().parse_args(arguments)
    try:
        if options.overrides and not options.config:
            raise ConfigError("-o: there is no configuration to change; give one by -c")
        config = load_config(options.config, options.overrides) if options.config else None
        file, translated = convert(
            options.src, options.dst, options.names, options.ema, options.dtype
        )
        report = _fit(config, options.dst) if config else None
    except (ConfigError, WeightError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.src}: {file.format}, names of {translated.source}")
    for note in file.notes:
        print(f"  note: {note}")
    if translated.ignored:
        print(f"  left out {len(translated.ignored)} without use here (counters, classifiers)")
    if translated.unknown:
        shown = ", ".join(translated.unknown[:5])
        print(f"  left out {len(translated.unknown)} unknown: {shown}")
    print(f"{options.dst}: {len(translated.tensors)} tensors, names of {options.names}")
    if report:
        print(report)
    return 0


def _fit(config: Config, path: Path) -> WeightReport:
    """How the file fits the model of a configuration."""
    from htc.model import build_model  # Paddle and the operators, which converting does not need
    from htc.weights.loading import load_weights

    return load_weights(build_model(config), path)


if __name__ == "__main__":
    sys.exit(main())
