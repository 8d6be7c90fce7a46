"""python -m htc.eval: box and mask AP of trained weights, or of a results file."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from htc.checkpoint import atomic_path
from htc.commands import command_parser, configuration, run
from htc.config import Config, ConfigError
from htc.deploy.options import add_engine_options
from htc.engine.setup import prepare_threads

logger = logging.getLogger("htc")

EPILOG = """\
examples:
  python -m htc.eval -o weights=output/htc_demo/best.safetensors
  python -m htc.eval -c htc_r50_fpn_1x_coco -o weights=htc_r50.pth data.root=/data/coco --classwise
  python -m htc.eval -c htc_r50_fpn_1x_coco -o data.root=/data/coco --results detections.json
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("eval", __doc__.partition(": ")[2], EPILOG)
    result.add_argument("--json", metavar="FILE", type=Path, help="also write the numbers as JSON")
    result.add_argument("--classwise", action="store_true", help="also print AP of every class")
    result.add_argument(
        "--save-results",
        metavar="FILE",
        type=Path,
        help="write the detections as a COCO results file (as COCO's server takes it)",
    )
    result.add_argument(
        "--results",
        metavar="FILE",
        type=Path,
        help="evaluate a COCO results file in place of weights",
    )
    add_engine_options(result)
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> int:
    config = configuration(options)
    if options.results is None and not config.weights:
        raise ConfigError(
            "weights: expected trained weights, got none; give -o weights=PATH, or --results FILE"
        )
    prepare_threads(config.runtime)
    from htc.engine import evaluate as engine
    from htc.engine import processes
    from htc.engine.preflight import has_validation
    from htc.engine.progress import start_logging, stop_logging

    if not has_validation(config):
        raise ConfigError("data.val.annotations: expected a COCO json to evaluate on, got nothing")
    rank = 0
    try:
        if options.results is not None:
            start_logging(None, 0)
            evaluation = _of_results(options.results, config)
        else:
            from htc.data import CocoDataset
            from htc.deploy import is_export
            from htc.deploy.engines import open_network
            from htc.deploy.options import take_export_settings
            from htc.engine.setup import set_device

            set_device(config.runtime.device)
            rank, world = processes.start()
            start_logging(None, rank)
            own = None if is_export(config.weights) else config
            threads = config.runtime.threads or None
            opened = open_network(config.weights, own, options.precision, options.engine, threads)
            if own is None:
                take_export_settings(config, opened.config)
            dataset = CocoDataset.from_config(config, "val")
            evaluation = engine.evaluate(opened.network, config, dataset, rank, world)
        if rank == 0:
            _show(evaluation, options, config)
    finally:
        stop_logging()
    return 0


def _of_results(path: Path, config: Config):
    from htc.coco_metric import read_results
    from htc.data import CocoDataset
    from htc.engine.evaluate import Evaluation, measure

    results = read_results(path)
    dataset = CocoDataset.from_config(config, "val")
    evaluation = Evaluation(results)
    key = {"box": "bbox", "mask": "segmentation"}
    present = tuple(m for m in config.eval.metrics if results and key[m] in results[0])
    config.eval.metrics = present or config.eval.metrics
    measure(evaluation, config, dataset)
    return evaluation


def _show(evaluation, options: argparse.Namespace, config: Config) -> None:
    from htc.engine.evaluate import table

    logger.info("%s", table(evaluation, options.classwise or config.eval.classwise))
    if evaluation.seconds_per_picture:
        logger.info("%.3f s a picture", evaluation.seconds_per_picture)
    if options.save_results is not None:
        with atomic_path(options.save_results) as temporary:
            temporary.write_text(json.dumps(evaluation.results))
        logger.info("%d detections: %s", len(evaluation.results), options.save_results)
    if options.json is not None:
        content = {"metrics": evaluation.metrics, "per_class": evaluation.per_class}
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
        logger.info("numbers: %s", options.json)


if __name__ == "__main__":
    sys.exit(main())
