"""NumPy's .npz: a zip of .npy arrays. Object arrays (pickles) are refused."""

from __future__ import annotations

import ast
import json
import math
import struct

import numpy as np

from htc.weights.tensors import LazyTensor, WeightError, checked_shape
from htc.weights.zip_files import ZipReader

METADATA_KEY = "__metadata__"  # a text array of JSON in files that this package writes
MAX_HEADER = 2**16


def read_npz(archive: ZipReader) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """The arrays of an .npz by name, and the metadata that this package puts there."""
    tensors = {}
    metadata: dict[str, str] = {}
    for entry in archive.names:
        if not entry.endswith(".npy"):
            raise WeightError(f"npz: {entry!r:.80} is not an array")
        name = entry.removesuffix(".npy")
        if name == METADATA_KEY:
            metadata = _metadata(archive, entry)
        else:
            tensors[name] = _array(archive, entry)
    return tensors, metadata


def _metadata(archive: ZipReader, entry: str) -> dict[str, str]:
    contents = archive.stored(entry)
    dtype, _fortran, shape, start = _header(contents, entry)
    if dtype != np.dtype("uint8") or len(shape) != 1 or len(contents) - start != shape[0]:
        raise WeightError("npz: corrupt: the metadata")
    try:
        values = json.loads(bytes(contents[start:]))
    except ValueError:
        raise WeightError("npz: corrupt: the metadata is not JSON") from None
    if not isinstance(values, dict):
        raise WeightError("npz: corrupt: the metadata")
    return {str(key): str(value) for key, value in values.items()}


def _array(archive: ZipReader, entry: str) -> LazyTensor:
    dtype, fortran, shape, start = _header(archive.beginning(entry, MAX_HEADER), entry)
    claimed = math.prod(shape) * dtype.itemsize
    if start + claimed != archive.size(entry):
        raise WeightError(
            f"npz: corrupt: {entry!r:.80} claims shape {shape}, {claimed} bytes; the file has"
            f" {archive.size(entry) - start}"
        )
    native = dtype.newbyteorder("=")

    def read() -> np.ndarray:
        values = np.frombuffer(archive.stored(entry)[start:], dtype)
        return np.array(values.reshape(shape, order="F" if fortran else "C"), native, order="C")

    return LazyTensor(shape, native.name, read)


def _header(contents: memoryview, entry: str) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """dtype, order, shape and where the values start, from the header of an .npy."""
    head = bytes(contents[:12])
    if len(head) < 12 or head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise WeightError(f"npz: corrupt: {entry!r:.80} is not an array")
    length, start = (
        (struct.unpack("<H", head[8:10])[0], 10)
        if head[6] == 1
        else (struct.unpack("<I", head[8:12])[0], 12)
    )
    if length > MAX_HEADER - 12 or start + length > len(contents):
        raise WeightError(f"npz: corrupt: the header of {entry!r:.80}")
    try:
        text = bytes(contents[start : start + length]).decode("ascii").strip()
        # No honest header has a backslash, and Python warns of odd ones on the user's screen.
        header = ast.literal_eval(text if "\\" not in text else "")
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
        dtype = np.dtype(descr) if isinstance(descr, str) else None
    except Exception:
        raise WeightError(f"npz: corrupt: the header of {entry!r:.80}") from None
    if dtype is None or dtype.hasobject or dtype.kind not in "biufc":
        raise WeightError(f"npz: {entry!r:.80} has type {descr!r:.40}: not weights, not read")
    return dtype, bool(fortran), checked_shape(shape, f"npz: {entry!r:.80}"), start + length
