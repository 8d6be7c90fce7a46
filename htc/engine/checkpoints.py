"""Training checkpoints: folders that appear whole or not at all, and can be trusted or are refused.

A run folder holds one folder a checkpoint, named by the epochs done ("3") or, within an epoch, by
epoch and batch ("3-150"):

    weights.safetensors     the model, as htc.load_weights and htc.convert read it
    training.safetensors    the optimiser ("optimizer.<name>") and averaged weights ("ema.<name>")
    state.json              where the run is, and size and CRC-32 of the two files

Reading one executes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from htc.weights import read_weights, write_weights

WEIGHTS, TRAINING, STATE = "weights.safetensors", "training.safetensors", "state.json"
FORMAT = "htc training checkpoint 1"
_NAME = re.compile(r"(\d+)(?:-(\d+))?")


class CheckpointError(ValueError):
    """A checkpoint that is not there, damaged, or of another run; says which and why."""


@dataclass
class Position:
    """Where a run is: everything about it that is no tensor.

    epoch, batch: batches 0 .. batch - 1 of epoch `epoch` (from 0) are done.
    step: optimiser steps done.
    world: processes.
    best: highest AP so far, and best_epoch; None before the first evaluation.
    ema_updates, scaler: of the averaged weights and of mixed precision.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    world: int = 1
    best: float | None = None
    best_epoch: int | None = None
    ema_updates: int = 0
    scaler: dict = field(default_factory=dict)
    fingerprint: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the checkpoint's folder."""
        return f"{self.epoch}-{self.batch}" if self.batch else str(self.epoch)


@dataclass
class Checkpoint:
    """What a checkpoint holds, as arrays by name."""

    position: Position
    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    ema: dict[str, np.ndarray]


def save(run: Path, checkpoint: Checkpoint, metadata: dict[str, str], keep: int) -> Path:
    """Write a checkpoint into a run folder, and remove all but the newest `keep`.

    Written under a temporary name, synced to disk, and renamed: a crash at any moment leaves it
    whole or absent.
    """
    final = run / checkpoint.position.name
    partial = run / f".{final.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_weights(partial / WEIGHTS, checkpoint.weights, metadata)
        tensors = {f"optimizer.{name}": array for name, array in checkpoint.optimizer.items()}
        tensors |= {f"ema.{name}": array for name, array in checkpoint.ema.items()}
        write_weights(partial / TRAINING, tensors, {"format": FORMAT})
        files = {name: _identity(partial / name) for name in (WEIGHTS, TRAINING)}
        position = asdict(checkpoint.position)
        serial = 1 + max((_serial(path) or 0 for path in list_checkpoints(run)), default=0)
        state = {"format": FORMAT, "serial": serial, "position": position, "files": files}
        with (partial / STATE).open("w") as stream:
            json.dump(state, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        if final.exists():  # a run that went back to an earlier checkpoint comes by again
            stale = run / f".{final.name}.{os.getpid()}.stale"
            final.rename(stale)
            partial.rename(final)
            shutil.rmtree(stale, ignore_errors=True)
        else:
            partial.rename(final)
        _sync(run)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    whole = [path for path in list_checkpoints(run) if _serial(path) is not None]
    for old in whole[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, the one written last first.

    By when they were written, not by epoch: a run may have gone back to an earlier one.
    """
    found = []
    for path in run.iterdir() if run.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            serial = _serial(path)
            # One that cannot be read comes first, so that it is noticed when a run is resumed.
            key = float("inf") if serial is None else serial
            found.append((key, int(match[1]), int(match[2] or 0), path))
    return [path for *_, path in sorted(found, reverse=True)]


def _serial(path: Path) -> int | None:
    """Number of a checkpoint in the order of writing; None where it cannot be read."""
    try:
        return int(json.loads((path / STATE).read_text())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: it is not there, truncated, or changed since it was written.
    """
    try:
        state = json.loads((path / STATE).read_text())
        if state["format"] != FORMAT:
            raise CheckpointError(f"{path}: expected {FORMAT!r}, got {state['format']!r}")
        position, files = Position(**state["position"]), state["files"]
        for name in (WEIGHTS, TRAINING):
            if _identity(path / name) != files[name]:
                raise CheckpointError(f"{path / name}: truncated or changed since it was written")
        weights, _ = read_weights(path / WEIGHTS)
        tensors, _ = read_weights(path / TRAINING)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no checkpoint: {error.filename} is missing") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: damaged: {error}") from None
    parts: dict[str, dict] = {"optimizer": {}, "ema": {}}
    for name, array in tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = array
    return Checkpoint(position, weights, **parts)


def find(target: str | Path, notice: Callable[[str], None]) -> Checkpoint:
    """The checkpoint to go on from.

    Args:
        target: a run folder (its newest checkpoint that is whole) or a checkpoint's folder (this
            one, or the newest whole one before it).
        notice: called with a line for each damaged checkpoint that is passed over.

    Raises:
        CheckpointError: there is none, or none that is whole.
    """
    target = Path(target)
    if _NAME.fullmatch(target.name) and target.is_dir():
        listed = list_checkpoints(target.parent)
        candidates = listed[listed.index(target) :]
    elif target.is_dir():
        candidates = list_checkpoints(target)
    else:
        raise CheckpointError(f"--resume: {target} is neither a run folder nor a checkpoint")
    if not candidates:
        raise CheckpointError(f"--resume: {target} holds no checkpoint")
    for path in candidates:
        try:
            return load(path)
        except CheckpointError as error:
            reason = str(error)
            notice(f"passed over a damaged checkpoint: {error}")
    raise CheckpointError(f"--resume: {target} holds no checkpoint that is whole: {reason}")


def link_weights(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` (a copy where the file system has no links)."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    _sync(target.parent)


def _identity(path: Path) -> dict:
    checksum = 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return {"bytes": path.stat().st_size, "crc32": checksum}


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
