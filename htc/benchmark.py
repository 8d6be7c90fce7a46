"""python -m htc.benchmark: the time of a prediction, and of each part of it, on this CPU."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

from htc.checkpoint import atomic_path
from htc.commands import command_parser, configuration, run
from htc.config import ConfigError
from htc.engine.setup import prepare_threads

EPILOG = """\
Each part runs by itself as a program of Paddle Inference on what the part before it answered, one
warm-up and then --rounds times; feeding it is not counted. "whole" is one program, "predictor" is
htc.Predictor from an array: resized, normalised, predicted, pasted to RLE. Without weights the
network is random, with as many proposals and detections as its configuration allows.

examples:
  python -m htc.benchmark -c htc_r50_fpn_1x_coco
  python -m htc.benchmark -o weights=output/htc_demo --size 192 256 --json times.json
"""


def parser() -> argparse.ArgumentParser:
    result = command_parser("benchmark", __doc__.partition(": ")[2], EPILOG)
    result.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="of the picture (default: as resized)"
    )
    result.add_argument("--picture", type=Path, help="a file (default: coloured blocks)")
    result.add_argument("--rounds", type=int, default=5, help="times each is run (default: 5)")
    result.add_argument(
        "--precision", choices=("fp32", "bf16", "auto"), default="fp32", help="default: fp32"
    )
    result.add_argument("--whole", action="store_true", help="leave the parts out")
    result.add_argument("--json", metavar="FILE", type=Path, help="also write the numbers as JSON")
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run(lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise ConfigError(f"--rounds: expected 1 or more, got {options.rounds}")
    config = configuration(options)
    prepare_threads(config.runtime)
    os.environ.setdefault("GLOG_minloglevel", "2")
    from htc.deploy.network import choose_precision
    from htc.engine.setup import set_device

    set_device("cpu")
    model, config = _network(config, options)
    picture = _picture(options, config)
    precision = choose_precision(options.precision)
    times, facts = measure(model, config, picture, options.rounds, not options.whole, precision)
    print(table(times, facts))
    if options.json is not None:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps({"protocol": facts, "seconds": times}, indent=1))
    return 0


def _network(config, options):
    """(eager network, configuration) of the weights, or random."""
    import paddle

    import htc
    from htc.deploy.sources import open_source

    if config.weights:
        own = options.config is not None or any(
            not text.startswith(("weights=", "runtime.")) for text in options.overrides
        )
        source = open_source(config.weights, config if own else None)
        return source.build(), source.config
    paddle.seed(0)
    model = htc.build_model(config)
    model.eval()
    return model, config


def _picture(options, config):
    import numpy as np

    from htc.data.pictures import read_picture

    if options.picture is not None:
        return read_picture(options.picture)
    height, width = options.size or (config.data.test_short_side, config.data.test_long_side)
    blocks = np.random.default_rng(0).integers(
        0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8
    )
    return np.ascontiguousarray(blocks.repeat(16, 0).repeat(16, 1)[:height, :width])


def measure(model, config, picture, rounds: int, parts: bool, precision: str) -> tuple[dict, dict]:
    """Seconds of each round of each part, and what they were measured on.

    Returns:
        (name of a part -> seconds of its rounds, facts)
    """
    import tempfile

    import paddle

    import htc
    from htc.data.pictures import resize_picture
    from htc.data.transforms import collate, resized_size
    from htc.deploy.processor import default_threads
    from htc.deploy.writing import write_export
    from htc.inference import paste

    load = os.getloadavg()[0]
    data, times = config.data, {}
    size = resized_size(*picture.shape[:2], data.test_short_side, data.test_long_side)

    def prepare():
        return collate([resize_picture(picture, *size)], data)

    times["preparation"] = _rounds(prepare, rounds)
    images, sizes = prepare()
    with tempfile.TemporaryDirectory() as folder:
        export = write_export(f"{folder}/export", model, config, None, False, precision)
        predictor = htc.Predictor(export, device="cpu")
    if parts:
        times.update(_parts(model, images, sizes, rounds, precision))
    network = predictor._network
    found = network(images, sizes)
    boxes = found.boxes.numpy()
    if found.mask_probs is not None:
        times["paste"] = _rounds(
            lambda: paste(found.mask_probs, boxes, picture.shape[:2], config), rounds
        )
    times["whole"] = _rounds(lambda: network(images, sizes), rounds)
    times["predictor"] = _rounds(lambda: predictor(picture), rounds)
    facts = {
        "picture": list(picture.shape[:2]),
        "network_picture": list(images.shape[2:]),
        "detections": len(boxes),
        "rounds": rounds,
        "threads": default_threads(),
        "processor": _processor(),
        "load_before": round(load, 2),
        "paddle": paddle.__version__,
        "precision": precision,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    return times, facts


def _parts(model, images, sizes, rounds: int, precision: str) -> dict:
    """Seconds of the rounds of each part of the network."""
    from htc.deploy import parts
    from htc.deploy.processor import default_threads

    times = {}

    def timed(name, function, inputs):
        program = parts.Program(model, function, inputs, default_threads(), precision)
        times[name] = _rounds(program.run, rounds)
        return program.results()

    stages = timed("backbone", parts.backbone, [images])
    pyramid = timed("fpn", parts.fpn, stages)
    maps = pyramid[:4]
    if model.semantic_head is not None and model.semantic_head.embedding is not None:
        maps = maps + timed("semantic", parts.semantic, pyramid)
    boxes, boxes_num = timed("rpn", parts.rpn, [sizes, *pyramid])
    logits = []
    for t in range(len(model.box_heads)):
        own, decoded = timed(f"box stage {t}", parts.box_stage(t), [sizes, boxes, boxes_num, *maps])
        logits.append(own)
        if decoded.shape[1] == 4:  # one box for all classes; else the first stage's serve all
            boxes = decoded
    found = timed("selection", parts.selection, [decoded, boxes_num, *logits])
    if len(model.mask_heads):
        timed("masks", parts.masks, [*found, *maps])
    return times


def _rounds(function, rounds: int) -> list[float]:
    function()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return seconds


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def table(times: dict, facts: dict) -> str:
    """The times as lines: the fastest round, and the middle one."""
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines.append(f"{'part':<12} {'fastest ms':>10} {'median ms':>10}")
    for name, seconds in times.items():
        fastest, middle = min(seconds) * 1000, statistics.median(seconds) * 1000
        lines.append(f"{name:<12} {fastest:>10.1f} {middle:>10.1f}")
    lines.append(f"\n{1 / min(times['predictor']):.2f} pictures a second")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
