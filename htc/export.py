"""python -m htc.export: writes trained weights as a Paddle Inference model, operators included."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from htc.commands import command_parser, configuration, run
from htc.config import ConfigError
from htc.engine.setup import prepare_threads

EPILOG = """\
examples:
  python -m htc.export -o weights=output/htc_demo --output exported
  python -m htc.export -c htc_r50_fpn_1x_coco -o weights=htc_r50.pth --output exported
  python -m htc.infer -o weights=exported a.jpg --output found
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("export", __doc__.partition(": ")[2], EPILOG)
    result.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="a new folder, or an earlier export, which is replaced",
    )
    result.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="bf16: multiply in bfloat16, for processors with amx_bf16 or AMD's with avx512_bf16;"
        " the file is half as large (default: fp32)",
    )
    result.add_argument(
        "--no-check",
        action="store_true",
        help="do not run the program once to compare it with the network",
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run(lambda: export(options))


def export(options: argparse.Namespace) -> int:
    config = configuration(options)
    if not config.weights:
        raise ConfigError("weights: expected trained weights, got none; give -o weights=PATH")
    prepare_threads(config.runtime)
    from htc.deploy import MANIFEST, read_manifest, write_export
    from htc.deploy.sources import open_source
    from htc.engine.setup import set_device

    # Without -c, weights that training wrote say themselves what they are of.
    own = None if options.config is None and _only_weights(options) else config
    source = open_source(config.weights, own)
    set_device("cpu")  # the program is the same for every device
    write_export(
        options.output,
        source.build(),
        source.config,
        source.class_names,
        not options.no_check,
        options.precision,
    )
    manifest = read_manifest(options.output, check_files=False)
    size = sum(facts["bytes"] for facts in manifest.files.values()) / 2**20
    print(f"{options.output}: {', '.join([*manifest.files, MANIFEST])}, {size:.1f} MiB")
    print(f"operators of htc_ops in it: {', '.join(manifest.operators)}")
    return 0


def _only_weights(options: argparse.Namespace) -> bool:
    return all(text.startswith(("weights=", "runtime.")) for text in options.overrides)


if __name__ == "__main__":
    sys.exit(main())
