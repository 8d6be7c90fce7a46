"""Writes named arrays as .safetensors, .npz or .pdparams, whole or not at all."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from htc.checkpoint import atomic_path
from htc.weights.npz_files import METADATA_KEY
from htc.weights.tensors import WeightError
from htc.weights.unpacking import PADDLE_NAMES

SUFFIXES = (".safetensors", ".npz", ".pdparams")


def write_weights(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes arrays in the format of the path's suffix; an existing file is replaced at the end.

    .pdparams has no room for metadata: it is left out there.

    Raises:
        WeightError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise WeightError(
            f"{path}: expected a file ending in {', '.join(SUFFIXES)},"
            f" got {path.suffix or 'no suffix'}"
        )
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    metadata = {str(key): str(value) for key, value in (metadata or {}).items()}
    try:
        with atomic_path(path) as temporary:
            if path.suffix == ".safetensors":
                safetensors.numpy.save_file(arrays, temporary, metadata)
            elif path.suffix == ".npz":
                _write_npz(temporary, arrays, metadata)
            else:
                _write_pdparams(temporary, arrays)
    except OSError as error:
        raise WeightError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write_npz(path: Path, arrays: dict, metadata: dict) -> None:
    # As bytes: a NumPy text array would take four bytes a letter.
    note = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, **arrays, **({METADATA_KEY: note} if metadata else {}))


def _write_pdparams(path: Path, arrays: dict) -> None:
    # The table of names marks a state dict for paddle.load, which then returns tensors.
    state = {**arrays, PADDLE_NAMES: {name: name for name in arrays}}
    with path.open("wb") as stream:
        pickle.dump(state, stream, protocol=4)
