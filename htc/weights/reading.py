"""Opens a weight file of any known format, told apart by its first bytes, not by its name."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from htc.weights.npz_files import read_npz
from htc.weights.pickle_globals import find_standard
from htc.weights.pickle_machine import PickleMachine
from htc.weights.safetensors_files import is_safetensors, read_safetensors
from htc.weights.tensors import LazyTensor, WeightError
from htc.weights.torch_files import is_legacy, read_legacy, read_zip
from htc.weights.unpacking import join_split_arrays, named_tensors, plain_facts, select_state
from htc.weights.zip_files import ZipReader

FORMATS = ".pth/.pt (PyTorch), .pdparams (Paddle), .npz (NumPy) and .safetensors"


@dataclass
class WeightFile:
    """A weight file, opened: names, shapes and types are known, values are read when asked for."""

    path: Path
    format: str
    tensors: dict[str, LazyTensor]
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def open_weights(path: str | Path, ema: bool = False) -> WeightFile:
    """Opens .pth/.pt (both PyTorch formats), .pdparams, .npz or .safetensors.

    Nothing in the file is executed and PyTorch is not needed. Wrappers ("state_dict", "model") and
    prefixes ("module.") are taken off.

    Args:
        ema: take the averaged weights where the file holds both.

    Raises:
        WeightError: the file is missing, damaged, of another kind, or asks to run something.
    """
    path = Path(path)
    data = _map_file(path)
    try:
        return _open(path, data, ema)
    except WeightError as error:
        raise WeightError(f"{path}: {error}") from None
    except (MemoryError, OverflowError, RecursionError) as error:
        raise WeightError(f"{path}: corrupt ({type(error).__name__})") from None


def read_weights(
    path: str | Path, ema: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a weight file under the file's own names, and its metadata.

    bfloat16 is widened to float32, other types are kept. Errors as in `open_weights`.
    """
    file = open_weights(path, ema)
    check_claims(file)
    arrays = {name: read_tensor(path, name, tensor) for name, tensor in file.tensors.items()}
    return arrays, file.metadata


def check_claims(file: WeightFile) -> None:
    """Raises WeightError where reading all tensors would take far more memory than the file's size.

    Tensors may be windows on one storage, expanded ones too; deflate has a larger bound of its own.
    """
    limit = (1100 if file.format == "NumPy" else 16) * file.path.stat().st_size + 2**24
    claimed = sum(tensor.nbytes for tensor in file.tensors.values())
    if claimed > limit:
        raise WeightError(
            f"{file.path}: its tensors claim {claimed} bytes together, far more than the file holds"
        )


def read_tensor(path: str | Path, name: str, tensor: LazyTensor) -> np.ndarray:
    """The values of one tensor; WeightError names the file and the tensor if it is damaged."""
    try:
        return tensor.read()
    except WeightError as error:
        raise WeightError(f"{path}: {name}: {error}") from None
    except MemoryError:
        raise WeightError(f"{path}: {name}: no memory for shape {tensor.shape}") from None


def _map_file(path: Path) -> memoryview:
    if path.is_dir():
        raise WeightError(f"{path}: is a folder; give a file: {FORMATS}")
    try:
        with path.open("rb") as stream:
            if stream.seek(0, 2) == 0:
                raise WeightError(f"{path}: the file is empty")
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise WeightError(f"{path}: there is no such file") from None
    except OSError as error:
        raise WeightError(f"{path}: cannot be read: {error.strerror or error}") from None


def _open(path: Path, data: memoryview, ema: bool) -> WeightFile:
    head = bytes(data[:64])
    if head[:4] == b"PK\x03\x04":
        return _open_zip(path, data, ema)
    if is_legacy(data):
        return _from_objects(path, "PyTorch legacy", read_legacy(data), ema)
    if is_safetensors(data):
        tensors, metadata = read_safetensors(data)
        return _named(path, "safetensors", tensors, metadata, ema)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        objects = PickleMachine(data, find_standard).load()
        return _from_objects(path, "Paddle", objects, ema)
    raise WeightError(f"not a file of weights: {_guess(head, data)}")


def _guess(head: bytes, data: memoryview) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with git lfs pull"
    if head.lstrip()[:1] == b"<":
        return "it is a web page; the download went wrong"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "it is HDF5 (Keras), which is not supported"
    if bytes(data[257:262]) == b"ustar":
        return "it is a tar archive; unpack it first"
    if head[:2] == b"\x1f\x8b":
        return "it is compressed by gzip; unpack it first"
    return f"known are {FORMATS}"


def _open_zip(path: Path, data: memoryview, ema: bool) -> WeightFile:
    archive = ZipReader(data)
    pickles = [name for name in archive.names if name.split("/")[1:] == ["data.pkl"]]
    if pickles:
        objects = read_zip(archive, pickles[0].removesuffix("data.pkl"))
        return _from_objects(path, "PyTorch", objects, ema)
    if any(name.endswith(".npy") for name in archive.names):
        tensors, metadata = read_npz(archive)
        return _named(path, "NumPy", tensors, metadata, ema)
    raise WeightError("not a file of weights: a zip without data.pkl (PyTorch) or arrays (NumPy)")


def _from_objects(path: Path, format: str, objects: Any, ema: bool) -> WeightFile:
    state, notes = select_state(objects, ema)
    tensors = join_split_arrays(state, named_tensors(state))
    return WeightFile(path, format, tensors, plain_facts(objects), notes)


def _named(path: Path, format: str, tensors: dict, metadata: dict, ema: bool) -> WeightFile:
    state, notes = select_state(tensors, ema)
    return WeightFile(path, format, named_tensors(state), metadata, notes)
