"""The log line of training, its averages, the progress bar and metrics.jsonl."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

logger = logging.getLogger("htc")
METRICS = "metrics.jsonl"


def start_logging(file: Path | None, rank: int) -> None:
    """Messages of "htc" to standard output and to a file, from the first process alone."""
    stop_logging()
    root = logging.getLogger("htc")
    root.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    root.propagate = False
    root.addHandler(_Screen())
    if rank == 0 and file is not None:
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        root.addHandler(handler)


def stop_logging() -> None:
    """Take away the handlers that start_logging put there, and close the file."""
    root = logging.getLogger("htc")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.propagate = True


class _Screen(logging.Handler):
    """Writes above the progress bar where there is one."""

    def emit(self, record):
        text = self.format(record)
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(text, file=sys.stdout)
        else:
            print(text, flush=True)


def progress_bar(total: int, done: int = 0, what: str = ""):
    """A bar on a terminal; elsewhere an object that does nothing."""
    if not sys.stderr.isatty():
        return _NoBar()
    from tqdm import tqdm

    return tqdm(total=total, initial=done, desc=what, leave=False, dynamic_ncols=True)


class _NoBar:
    def update(self, count: int = 1) -> None:
        pass

    def set_postfix_str(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Meter:
    """Means over the batches since the last line."""

    def __init__(self):
        self._names: list[str] = []
        self._losses: list = []
        self._batch, self._data, self._pictures = 0.0, 0.0, 0

    def add(self, losses: dict, batch_cost: float, data_cost: float, pictures: int) -> None:
        """One batch: its losses (0-D tensors), its seconds, of them waiting for data, pictures."""
        self._names = list(losses)
        # Stacked on the device and fetched at the line: fetching each would make a GPU wait.
        self._losses.append(paddle.stack([value.detach() for value in losses.values()]))
        self._batch += batch_cost
        self._data += data_cost
        self._pictures += pictures

    def __len__(self) -> int:
        return len(self._losses)

    def take(self) -> dict[str, float]:
        """Losses by name, then batch_cost, data_cost (s) and ips (pictures / s); and start anew."""
        count = len(self._losses)
        means = np.mean([values.numpy() for values in self._losses], axis=0, dtype=np.float64)
        result = dict(zip(self._names, means.tolist(), strict=True))
        result["batch_cost"] = self._batch / count
        result["data_cost"] = self._data / count
        result["ips"] = self._pictures / max(self._batch, 1e-9)
        self.__init__()
        return result


def log_line(epoch: int, batch: int, batches: int, rate: float, means: dict, eta: float) -> str:
    """The line that users of the older reproduction know; tools that read their logs read ours."""
    width = len(str(batches))
    losses = [f"{k}: {v:.6f}" for k, v in means.items() if k.startswith("loss_")]
    return " ".join(
        [
            f"Epoch: [{epoch}] [{batch:>{width}}/{batches}] learning_rate: {rate:.6f}",
            *losses,
            f"loss: {means['loss']:.6f} eta: {format_seconds(eta)}",
            f"batch_cost: {means['batch_cost']:.5f} data_cost: {means['data_cost']:.5f}",
            f"ips: {means['ips']:.5f} images/s",
        ]
    )


def format_seconds(seconds: float) -> str:
    """3725.2 -> 1:02:05"""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


class MetricsFile:
    """metrics.jsonl: one JSON object a line, of kind "train" or "eval"."""

    def __init__(self, folder: Path, resume_step: int | None = None, writers: Sequence = ()):
        """Begins a new file, or goes on with one, without what was written after `resume_step`.

        Args:
            writers: get the numbers, too (see htc.engine.writers).
        """
        self.writers = writers
        self.path = folder / METRICS
        kept = [] if resume_step is None else read_metrics(self.path)
        lines = [json.dumps(entry) + "\n" for entry in kept if entry["step"] <= resume_step]
        self.path.write_text("".join(lines))

    def write(self, kind: str, step: int, **values) -> None:
        entry = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        with self.path.open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        for writer in self.writers:
            for name, value in values.items():
                writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def read_metrics(path: Path) -> list[dict]:
    """The entries of a metrics.jsonl; a last line cut off by a crash is passed over."""
    entries = []
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
    return entries
