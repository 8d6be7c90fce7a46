"""Chooses how a network is run, and makes it: eagerly, or exported through Paddle Inference."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from htc.config import Config
from htc.deploy.cache import cached_export
from htc.deploy.errors import ExportError
from htc.deploy.manifest import is_export
from htc.deploy.network import ExportedNetwork, choose_precision
from htc.deploy.sources import Source, open_source

logger = logging.getLogger("htc")

ENGINES = ("auto", "eager", "inference")


@dataclass
class OpenNetwork:
    """A network that is ready to run.

    network: called with (images, image_sizes). engine: "eager" or "inference".
    precision: "fp32" or "bf16". eager: gives the eager network, or raises ExportError.
    """

    network: Any
    config: Config
    class_names: list[str] | None
    engine: str
    precision: str
    eager: Callable


def open_network(
    source: str | Path,
    config: str | Path | Config | None,
    precision: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
) -> OpenNetwork:
    """The network of a source, run as is wanted or as is best on Paddle's device.

    Args:
        source, config, precision, engine, threads: as of htc.Predictor.

    Raises:
        as htc.Predictor.
    """
    if engine not in ENGINES:
        raise ExportError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    if precision not in (None, "fp32", "bf16", "auto"):
        raise ExportError(f"precision: expected 'fp32', 'bf16' or 'auto', got {precision!r}")
    if is_export(source):
        return _of_export(source, config, precision, engine, threads)
    device = paddle.device.get_device()
    on_cpu = device == "cpu"
    if engine == "inference" and not on_cpu:
        raise ExportError(f"engine: 'inference' runs on the CPU, and the device is {device}")
    if engine == "eager" or not on_cpu:
        if precision == "bf16":
            raise ExportError("precision: the eager network runs in 'fp32'; use engine='inference'")
        source = open_source(source, config)
        network = source.build()
        return _opened(network, source, "eager", "fp32", lambda: network)
    precision = choose_precision(precision)  # before the work of exporting
    return _exported_here(open_source(source, config), precision, engine, threads)


def _of_export(source, config, precision, engine, threads) -> OpenNetwork:
    if engine == "eager":
        raise ExportError(f"engine: {source} is an export, which only 'inference' runs")
    if config is not None:
        raise ExportError(f"config: {source} is an export, which has its own; leave config out")
    network = ExportedNetwork(source, precision, threads)

    def no_eager():
        raise ExportError(
            f"{source} is an export: several views of a picture (flip, short sides) need the"
            " weights that it was made of"
        )

    classes = network.manifest.classes
    return OpenNetwork(network, network.config, classes, "inference", network.precision, no_eager)


def _exported_here(source: Source, precision, engine, threads) -> OpenNetwork:
    eager = _Once(source.build)
    try:
        folder = cached_export(source.weights, source.config, source.class_names, eager, precision)
        network = ExportedNetwork(folder, None, threads, check_files=False)
    except (ExportError, OSError) as error:
        if engine == "inference":
            raise
        logger.warning("slow engine 'eager', for the fast one is not to be had: %s", error)
        return _opened(eager(), source, "eager", "fp32", eager)
    # The cache may keep another run's training settings; the network is the same.
    return _opened(network, source, "inference", network.precision, _Once(source.build))


def _opened(network, source: Source, engine: str, precision: str, eager) -> OpenNetwork:
    return OpenNetwork(network, source.config, source.class_names, engine, precision, eager)


class _Once:
    """Calls a function when first called, and then gives the same answer."""

    def __init__(self, make: Callable):
        self._make, self._made = make, None

    def __call__(self):
        if self._made is None:
            self._made = self._make()
        return self._made
