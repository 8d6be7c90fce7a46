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


def command_parser(
    name: str, description: str, epilog: str = "", single: bool = False
) -> argparse.ArgumentParser:
    """A parser with -c and -o.

    Args:
        single: -o takes one override, for commands whose inputs may follow (see `separate`).
    """
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
        nargs=1 if single else "+",
        action="extend",
        default=[],
        help="settings over those of CONFIG, such as data.root=/data/mine num_classes=5",
    )
    return parser


def separate(arguments: list[str]) -> list[str]:
    """The arguments with a -o of its own before each override: "-o a=1 b=2 x" is "-o a=1 -o b=2 x".

    So overrides are written as for the other commands and inputs may still follow them: an override
    has an equals sign.
    """
    result: list[str] = []
    overriding = False
    for argument in arguments:
        if overriding and "=" in argument and not argument.startswith("-"):
            result += [argument] if result[-1] == "-o" else ["-o", argument]
            continue
        overriding = argument == "-o"
        result.append(argument)
    return result


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
