"""What the commands share: arguments, and mistakes as one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from htc.config import Config, ConfigError, load_config
from htc.data.errors import DatasetError
from htc.engine.checkpoints import CheckpointError
from htc.weights import WeightError

# A user's mistakes; anything else is ours and shows a traceback.
MISTAKES = (ConfigError, DatasetError, CheckpointError, WeightError)


def command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with -c and -o."""
    parser = argparse.ArgumentParser(
        prog=f"python -m htc.{name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="CONFIG",
        help="name of a shipped configuration, or a YAML file (default: the demo)",
    )
    parser.add_argument(
        "-o",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="settings over those of CONFIG, such as data.root=/data/mine num_classes=5",
    )
    return parser


def configuration(options: argparse.Namespace) -> Config:
    """The configuration that the arguments ask for."""
    return load_config(options.config, options.overrides)


def run(command: Callable[[], int]) -> int:
    """The exit code of a command; a user's mistake is one line on stderr and 2."""
    try:
        return command()
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
