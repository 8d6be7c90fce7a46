"""Files written whole or not at all, and our own weight format (safetensors).

Weights are a .safetensors file with the parameter names of the model, Paddle's layout (linear
weights [in, out]) and metadata: `format: htc`, a version, and what the caller adds (the config as
YAML, the epoch). Any safetensors reader opens it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

FORMAT = {"format": "htc", "version": "1"}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed to it, synced to disk, when the block ends well.

    A crash at any moment leaves the old file or the new one, never a part; an exception in the
    block removes the temporary file and leaves the old one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk; not every system lets a folder be opened.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def model_arrays(model) -> dict[str, np.ndarray]:
    """A model's parameters and statistics by name, in host memory; bfloat16 widened to float32."""
    arrays = {}
    for name, tensor in model.state_dict().items():
        if "bfloat16" in str(tensor.dtype):
            tensor = tensor.astype("float32")
        arrays[name] = np.array(tensor.numpy())
    return arrays


def save_weights(path: str | Path, model, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a model's weights in our format; `htc.load_weights` reads them.

    Args:
        path: ends in .safetensors; replaced at once, see `atomic_path`.
        model: a paddle.nn.Layer, or a mapping of names to arrays.
        metadata: texts to keep in the file, such as the config.
    """
    from htc.weights.writing import write_weights  # it needs atomic_path from here

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path: expected a file ending in .safetensors, got {str(path)!r}")
    arrays = dict(model) if isinstance(model, Mapping) else model_arrays(model)
    write_weights(path, arrays, {**FORMAT, **(metadata or {})})
