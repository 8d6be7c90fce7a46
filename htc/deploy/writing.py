"""Writes a network as a Paddle Inference program, runs that once, and compares."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path

import numpy as np
import paddle

from htc.config import Config
from htc.data.transforms import collate
from htc.deploy.errors import ExportError
from htc.deploy.manifest import MANIFEST, describe, file_facts, is_export, to_json
from htc.deploy.network import ExportedNetwork, is_registered
from htc.model.kernels import own_kernels
from htc.model.layers import bfloat16_weights

logger = logging.getLogger("htc")

NAME = "model"
CHECK_SIZE = 120, 150  # height and width of the picture that export compares with
# Largest difference of a score there. Rounding, added up over the whole network, moves scores by
# some 1e-4, and by some hundredths in bfloat16; a shuffled feature map by tenths.
CHECK_TOLERANCE = {"fp32": 0.01, "bf16": 0.1}


def write_export(
    folder: str | Path,
    model,
    config: Config,
    classes: list[str] | None,
    check: bool = True,
    precision: str = "fp32",
) -> Path:
    """Export a network; the folder appears whole or not at all.

    Args:
        folder: new, or an earlier export, which is replaced.
        model: the eager network, with its weights. It is put into eval mode.
        classes: names of the labels, where known.
        check: run the program on one picture and compare with the network.
        precision: of the products in convolutions and linear layers: "fp32", or "bf16" except in
            the last layers, for processors that multiply bfloat16 numbers; also halves the file.

    Returns:
        the folder.

    Raises:
        ExportError: the folder holds something else, or the program answers otherwise than the
            network.
        ValueError: another precision.
    """
    if precision not in CHECK_TOLERANCE:
        raise ValueError(f"precision: expected 'fp32' or 'bf16', got {precision!r}")
    folder = Path(folder)
    if folder.exists() and not is_export(folder) and (folder.is_file() or any(folder.iterdir())):
        raise ExportError(
            f"{folder}: expected a new folder or an earlier export, found other files"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    model.eval()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        part = Path(temporary) / "export"
        part.mkdir()
        with for_programs(model, precision):
            _write(part, model, config, classes, precision)
        if check:
            _check(part, model)
        _replace(part, folder)
    return folder


@contextmanager
def for_programs(model, precision: str):
    """Within it, programs that are made of the network or of parts of it predict in a precision."""
    with own_kernels(model), bfloat16_weights(model) if precision == "bf16" else nullcontext():
        yield


def _write(folder: Path, model, config: Config, classes: list[str] | None, precision) -> None:
    specs = [
        paddle.static.InputSpec([None, 3, None, None], "float32", "images"),
        paddle.static.InputSpec([None, 2], "float32", "image_sizes"),
    ]
    paddle.jit.save(model, str(folder / NAME), input_spec=specs)
    for extra in folder.glob("*.pdiparams.info"):
        extra.unlink()  # for training on; inference does not read it
    programs = [path for path in folder.iterdir() if path.suffix in (".json", ".pdmodel")]
    files = [*programs, folder / f"{NAME}.pdiparams"]
    words = set(re.findall(rb"htc_[a-z0-9_]+", programs[0].read_bytes()))
    outputs = ["boxes", "scores", "labels", "boxes_num"]
    manifest = describe(
        config,
        classes,
        outputs + ["mask_probs"] * config.model.mask_head.enabled,
        precision,
        sorted(word.decode() for word in words if is_registered(word.decode())),
        {path.name: file_facts(path) for path in files},
        {"htc": version(), "paddle": paddle.__version__},
    )
    (folder / MANIFEST).write_text(to_json(manifest))


def version() -> str:
    """The installed version of this package."""
    try:
        return metadata.version("htc-paddle")
    except metadata.PackageNotFoundError:  # run from the source folder
        return "unknown"


@paddle.no_grad()
def _check(folder: Path, model) -> None:
    """Raise ExportError where the program's answer is not the network's."""
    network = ExportedNetwork(folder, check_files=False)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (CHECK_SIZE[0] // 10, CHECK_SIZE[1] // 10, 3), np.uint8)
    images, sizes = collate([coarse.repeat(10, axis=0).repeat(10, axis=1)], network.config.data)
    expected = model(paddle.to_tensor(images), paddle.to_tensor(sizes)).scores.numpy()
    scores = network(images, sizes).scores.numpy()
    # By rank: near-equal detections may change places, and the last of them drop out.
    count = min(len(scores), len(expected))
    differences = np.abs(scores[:count] - expected[:count])
    lost = np.concatenate([scores[count:], expected[count:]])
    test = network.config.model.test
    limit = test.score_threshold if count < test.max_detections else 1.0
    worst = max(differences.max(initial=0.0), (lost - limit).max(initial=0.0))
    tolerance = CHECK_TOLERANCE[network.precision]
    if worst > tolerance:
        raise ExportError(
            f"the exported program does not answer as the network does: its scores differ by up to"
            f" {worst:.3g} (rounding alone would be under {tolerance}). Paddle"
            f" {paddle.__version__} runs it wrongly here; predict with engine='eager'"
        )
    logger.info("export: program and network agree, scores to %.1e", worst)


def _replace(part: Path, folder: Path) -> None:
    if folder.exists():
        old = part.with_name("old")
        os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old)
    else:
        os.replace(part, folder)
