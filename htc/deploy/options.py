"""The arguments of the commands that run a trained network."""

from __future__ import annotations

import argparse

from htc.config import Config


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add --engine and --precision."""
    parser.add_argument(
        "--engine",
        choices=("auto", "eager", "inference"),
        default="auto",
        help="inference: exported to Paddle Inference, once, which is fast on CPUs; eager: the"
        " network as Python; auto (the default): inference on a CPU, eager on a GPU",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "auto"),
        help="bf16: faster, on processors that multiply bfloat16 numbers; auto: bf16 there, fp32"
        " elsewhere (default: fp32; of an export its own)",
    )


def take_export_settings(config: Config, exported: Config) -> None:
    """Put what an export was made with into a configuration: the network, and its preprocessing."""
    config.model = exported.model
    config.num_classes = exported.num_classes
    config.num_semantic_classes = exported.num_semantic_classes
    for key in ("mean", "std", "test_short_side", "test_long_side", "pad_divisor"):
        setattr(config.data, key, getattr(exported.data, key))
