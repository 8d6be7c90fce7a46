"""python -m htc.data check|make-demo: looks for faults in a data set; makes the demo pictures."""

from __future__ import annotations

import argparse
import sys
import time

from htc.config import ConfigError, load_config
from htc.data.check import check_split
from htc.data.errors import DatasetError
from htc.data.paths import SPLITS

EPILOG = """\
examples:
  python -m htc.data check htc_r50_fpn_1x_coco -o data.root=/data/coco
  python -m htc.data check my_config.yml --split val --quick
  python -m htc.data make-demo output/demo_data --pictures 400 100
"""
CHECK_EPILOG = "exit code: 0 clean (or notes alone), 1 problems found, 2 nothing could be checked"


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m htc.data",
        description=__doc__.partition(": ")[2],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="every fault of a data set in one table", epilog=CHECK_EPILOG
    )
    check.add_argument(
        "config", nargs="?", metavar="CONFIG", help="shipped name or path (default: the demo)"
    )
    check.add_argument("-c", "--config", dest="config_option", metavar="CONFIG", help="the same")
    check.add_argument(
        "-o", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="overrides, such as data.root=/data/mine num_classes=5",
    )  # fmt: skip
    check.add_argument("--split", choices=SPLITS, action="append", help="one alone (default: both)")
    check.add_argument("--quick", action="store_true", help="decode a few pictures alone")
    check.add_argument(
        "--examples", type=int, default=3, metavar="N", help="shown of each fault (default: 3)"
    )
    demo = commands.add_parser("make-demo", help="generate the demo data set")
    demo.add_argument("root", metavar="FOLDER", help="where to put it")
    demo.add_argument(
        "--pictures", type=int, nargs=2, default=[400, 80], metavar=("TRAIN", "VAL"),
        help="how many (default: 400 80)",
    )  # fmt: skip
    demo.add_argument("--size", type=int, default=192, help="longer side, px (default: 192)")
    demo.add_argument("--seed", type=int, default=0, help="another seed, other pictures")
    return result


def check(options: argparse.Namespace) -> int:
    if options.config and options.config_option:
        raise DatasetError("CONFIG was given twice: alone and with -c")
    if options.examples < 0:
        raise DatasetError(f"--examples: expected 0 or more, got {options.examples}")
    config = load_config(options.config_option or options.config, options.overrides)
    clean = True
    for split in options.split or SPLITS:
        report = check_split(config, split, options.quick, options.examples, _progress(split))
        clean = clean and report.problems.clean
        print(report.text())
    print("clean" if clean else "problems found")
    return 0 if clean else 1


def make_demo(options: argparse.Namespace) -> int:
    from htc.data.demo import make_demo as make

    start = time.perf_counter()
    train, val = options.pictures
    folder = make(options.root, options.seed, train, val, options.size, _progress("demo pictures"))
    print(f"{folder}: {train} + {val} pictures, {time.perf_counter() - start:.1f} s")
    return 0


def _progress(what: str):
    """A line on a terminal that counts up; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if done == total:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        elif done % 10 == 0:
            print(f"\r{what}: {done}/{total}", end="", file=sys.stderr, flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        return check(options) if options.command == "check" else make_demo(options)
    except (ConfigError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
