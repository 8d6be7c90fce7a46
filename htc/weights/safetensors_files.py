"""The safetensors format: a length, a JSON table, the values."""

from __future__ import annotations

import json
import math
import struct

import numpy as np

from htc.weights.tensors import LazyTensor, WeightError, bfloat16_to_float32, checked_shape

MAX_HEADER = 100_000_000  # the format's own limit

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def is_safetensors(data: memoryview) -> bool:
    """Whether the file begins as the format does."""
    return len(data) >= 9 and data[8:9] == b"{" and bytes(data[4:8]) == b"\0\0\0\0"


def read_safetensors(data: memoryview) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata."""
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER or 8 + length > len(data):
        raise WeightError(
            f"safetensors: truncated or corrupt: the table claims {length} bytes, the file has"
            f" {len(data) - 8}"
        )
    try:
        table = json.loads(bytes(data[8 : 8 + length]))
    except (ValueError, RecursionError):
        raise WeightError("safetensors: corrupt: the table is not JSON") from None
    if not isinstance(table, dict):
        raise WeightError("safetensors: corrupt: the table is not a mapping")
    values = data[8 + length :]
    metadata = table.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise WeightError("safetensors: corrupt: the metadata")
    tensors = {name: _tensor(name, entry, values) for name, entry in table.items()}
    covered = sum(end - start for start, end in map(_offsets, table.values()))
    if covered != len(values):
        raise WeightError(
            f"safetensors: truncated or corrupt: tensors of {covered} bytes, the file has"
            f" {len(values)}"
        )
    return tensors, {str(key): str(value) for key, value in metadata.items()}


def _offsets(entry) -> tuple[int, int]:
    start, end = entry["data_offsets"]
    return start, end


def _tensor(name: str, entry, values: memoryview) -> LazyTensor:
    what = f"safetensors: {name!r:.80}"
    try:
        shape = checked_shape(entry["shape"], what)
        start, end = _offsets(entry)
        dtype = entry["dtype"]
    except (KeyError, TypeError, ValueError):
        raise WeightError(f"{what}: corrupt: its entry in the table") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightError(f"{what} has type {dtype!r:.20}, which is not supported")
    dtype = DTYPES[dtype]
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    whole = type(start) is int and type(end) is int and 0 <= start <= end <= len(values)
    if not whole or end - start != math.prod(shape) * stored.itemsize:
        raise WeightError(
            f"{what}: truncated or corrupt: shape {shape} of {dtype} at bytes {start}..{end} of"
            f" {len(values)}"
        )

    def read() -> np.ndarray:
        array = np.frombuffer(values[start:end], stored.newbyteorder("<")).reshape(shape)
        array = np.array(array, stored)
        return bfloat16_to_float32(array) if dtype == "bfloat16" else array

    return LazyTensor(shape, dtype, read)
