"""python -m htc.train: trains a model; without -c, a small one on generated demo pictures."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    # paddle.distributed.launch starts files, not modules: python .../htc/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from htc.commands import command_parser, configuration, run
from htc.config import Config, to_yaml
from htc.engine import siblings
from htc.engine.setup import prepare_threads

logger = logging.getLogger("htc")

EPILOG = """\
examples:
  python -m htc.train
  python -m htc.train -c htc_r50_fpn_1x_coco -o data.root=/data/coco --eval
  python -m htc.train -c my_config.yml --resume
  python -m paddle.distributed.launch --gpus 0,1,2,3 htc/train.py -c htc_r50_fpn_1x_coco

exit code: 0 done, 2 a mistake in the arguments, the configuration or the data, 1 a loss that is not
finite, 128 + signal after Ctrl-C or SIGTERM (a checkpoint is written first)
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("train", __doc__.partition(": ")[2], EPILOG)
    result.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="PATH",
        help="go on, exactly, from a checkpoint: PATH is a run folder or a checkpoint in it"
        " (default: the newest one of this run)",
    )
    result.add_argument(
        "--eval", action="store_true", help="evaluate every eval.every_epochs epochs"
    )
    result.add_argument("--amp", action="store_true", help="mixed precision (train.amp=true)")
    result.add_argument(
        "--print-config",
        action="store_true",
        help="print the resolved configuration, with every key explained, and leave",
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run(lambda: train(options, arguments))


def train(options: argparse.Namespace, arguments: list[str] | None = None) -> int:
    config = configuration(options)
    if options.amp:
        config.train.amp = True
    if options.print_config:
        print(to_yaml(config, comments=True), end="")
        return 0
    folder = Path(config.runtime.output) / config.name
    arguments = sys.argv[1:] if arguments is None else arguments
    with siblings.started(siblings.wanted(config.runtime), "htc.train", arguments, folder):
        try:
            return _start(config, options, folder)
        except siblings.ProcessLost as error:
            print(f"error: {error}", file=sys.stderr)
            return 1


def _start(config: Config, options: argparse.Namespace, folder: Path) -> int:
    prepare_threads(config.runtime)
    # Paddle is imported from here on, with the threads that were just set.
    from htc.engine import processes
    from htc.engine.progress import start_logging, stop_logging
    from htc.engine.setup import set_device

    device = set_device(config.runtime.device)
    rank, world = processes.start()
    folder.mkdir(parents=True, exist_ok=True)
    start_logging(folder / "train.log", rank)
    try:
        return _train(config, options, folder, device, rank, world)
    finally:
        stop_logging()


def _train(config: Config, options, folder: Path, device: str, rank: int, world: int) -> int:
    from htc.engine import checkpoints
    from htc.engine.preflight import check_data, validation_data
    from htc.engine.signals import StopRequest
    from htc.engine.trainer import CONFIG, Trainer
    from htc.report import write_report

    began = time.perf_counter()
    logger.info("run folder: %s, device: %s, processes: %d", folder, device, world)
    if rank == 0:
        check_data(config)
    checkpoint = None
    if options.resume is not None:
        checkpoint = checkpoints.find(options.resume or folder, logger.warning)
    trainer = Trainer(config, folder, rank, world, validation_data(config))
    if checkpoint is not None:
        trainer.resume(checkpoint)
        place = trainer.position
        logger.info("resumed at epoch %d, batch %d", place.epoch, place.batch)
    if rank == 0:
        (folder / CONFIG).write_text(to_yaml(config, comments=True))
    logger.info(
        "%d pictures, %d a step, %d steps an epoch, %d epochs",
        len(trainer.dataset), trainer.pictures_per_step, trainer.steps_per_epoch,
        config.train.epochs,
    )  # fmt: skip
    with StopRequest() as stop:
        finished = trainer.train(stop, options.eval)
    if rank == 0 and finished:
        report = write_report(trainer, time.perf_counter() - began)
        logger.info("report: %s", report)
    if not finished:
        logger.info("stopped by signal %d; --resume goes on from here", stop.signal_number)
        return 128 + (stop.signal_number or 15)
    return 0


if __name__ == "__main__":
    sys.exit(main())
