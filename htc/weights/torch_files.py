"""PyTorch's two file formats, without PyTorch.

Zip (since 1.6): `<name>/data.pkl` describes the objects, `<name>/data/<key>` are the storages,
stored uncompressed. Legacy: four pickles (a magic number, a version, facts about the machine, the
objects), one more with the storages' keys, then each storage as an int64 length and its values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from htc.weights.pickle_globals import Opaque, find_standard, refuse, standard_global
from htc.weights.pickle_machine import Global, PickleMachine
from htc.weights.tensors import LazyTensor, WeightError, bfloat16_to_float32, checked_shape
from htc.weights.zip_files import ZipReader

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

# PyTorch's name of an element type -> NumPy's; bfloat16 has none and is widened.
ELEMENT_TYPES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_DTYPE_NAMES = {
    *("float32", "float", "float64", "double", "float16", "half", "bfloat16", "int64", "long"),
    *("int32", "int", "int16", "short", "int8", "uint8", "bool", "complex64", "complex128"),
}


@dataclass
class Storage:
    """A run of values; `view()` gives them as they lie in the file."""

    dtype: str
    count: int
    view: Callable[[], memoryview]
    byte_order: str = "<"


class TorchType(Global):
    """torch.FloatStorage and its like."""

    def __init__(self, name: str, dtype: str):
        super().__init__(name)
        self.dtype = dtype


def item_size(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def find_global(module: str, name: str) -> Global:
    """The names in a PyTorch file; WeightError for one that is not part of a file of weights."""
    found = standard_global(module, name)
    if found is not None:
        return found
    full = f"{module}.{name}"
    if module in ("torch", "torch.cuda", "torch.storage") and name.endswith("Storage"):
        kind = name.removesuffix("Storage")
        if kind in ELEMENT_TYPES:
            return TorchType(full, ELEMENT_TYPES[kind])
    if full in _CALLS:
        return Global(full, _CALLS[full])
    is_dtype = module == "torch" and name in _DTYPE_NAMES
    if is_dtype or full in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.strided"):
        return Global(full)
    raise refuse(module, name)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> LazyTensor:
    """A tensor is a window on a storage; checked against it before anything is read."""
    if not isinstance(storage, Storage):
        raise WeightError("corrupt PyTorch file: a tensor without a storage")
    shape = checked_shape(size, "PyTorch tensor")
    strides = checked_shape(stride, "PyTorch tensor's strides")
    if len(strides) != len(shape) or type(offset) is not int or offset < 0:
        raise WeightError(
            f"corrupt PyTorch file: strides {strides!r:.80} of a tensor {shape!r:.80}"
        )
    elements = math.prod(shape)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if elements and last >= storage.count:
        raise WeightError(
            f"corrupt PyTorch file: a tensor of shape {shape} reaches element {last} of a storage"
            f" of {storage.count}"
        )

    def read() -> np.ndarray:
        stored = "uint16" if storage.dtype == "bfloat16" else storage.dtype
        dtype = np.dtype(stored).newbyteorder(storage.byte_order)
        if elements == 0:
            array = np.empty(shape, stored)
        else:
            values = np.frombuffer(storage.view(), dtype, count=storage.count)[offset:]
            steps = [step * dtype.itemsize for step in strides]
            window = np.lib.stride_tricks.as_strided(values, shape, steps, writeable=False)
            array = np.array(window, stored, order="C")
        return bfloat16_to_float32(array) if storage.dtype == "bfloat16" else array

    return LazyTensor(shape, storage.dtype, read)


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    return data


def _rebuild_from_type(function: Any, _kind: Any, args: Any, _state: Any) -> Any:
    if isinstance(function, Global) and function.call is _rebuild_tensor:
        return _rebuild_tensor(*args)
    raise WeightError(f"the file asks to build a tensor by {function!r}, which is not allowed")


def _size(items: Any = ()) -> tuple:
    return checked_shape(items, "torch.Size")


_CALLS = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": _size,
    "torch.device": lambda *_args: Opaque(),
    "torch.serialization._get_layout": lambda *_args: Opaque(),
}


def _storage_id(key: Any) -> tuple[TorchType, str, int, Any]:
    """The parts of a persistent id: element type, key, number of elements, view (legacy)."""
    if not isinstance(key, tuple) or len(key) not in (5, 6) or key[0] != "storage":
        raise WeightError("corrupt PyTorch file: an unknown reference to a storage")
    kind, name, _device, count = key[1:5]
    if not isinstance(kind, TorchType):
        raise WeightError(f"PyTorch storage of type {kind!r:.60} is not supported")
    if type(count) is not int or count < 0:
        raise WeightError("corrupt PyTorch file: the length of a storage")
    return kind, str(name), count, key[5] if len(key) == 6 else None


def read_zip(archive: ZipReader, prefix: str) -> Any:
    """The objects of a zip-format file whose entries begin with `prefix`."""
    if f"{prefix}constants.pkl" in archive.names or f"{prefix}code/" in archive.names:
        raise WeightError(
            "this is a TorchScript archive, a program and not weights: save model.state_dict()"
        )
    order = "<"
    if f"{prefix}byteorder" in archive.names:
        order = {b"little": "<", b"big": ">"}.get(bytes(archive.stored(f"{prefix}byteorder")))
        if order is None:
            raise WeightError("corrupt PyTorch file: the byte order is neither little nor big")

    def load_storage(key: Any) -> Storage:
        kind, name, count, _view = _storage_id(key)
        entry = f"{prefix}data/{name}"
        if entry not in archive.names:
            raise WeightError(f"corrupt PyTorch file: the storage {entry!r:.80} is missing")
        if archive.size(entry) < count * item_size(kind.dtype):
            raise WeightError(
                f"corrupt PyTorch file: storage {name} claims {count} values of {kind.dtype}, the"
                f" file has {archive.size(entry)} bytes of it"
            )
        return Storage(kind.dtype, count, lambda: archive.stored(entry), order)

    pickle = archive.stored(f"{prefix}data.pkl")
    return PickleMachine(pickle, find_global, load_storage).load()


def is_legacy(data: memoryview) -> bool:
    """Whether the first pickle of the file is PyTorch's magic number."""
    head = bytes(data[:64])
    return LEGACY_MAGIC.to_bytes(10, "little") in head and head[:1] == b"\x80"


def read_legacy(data: memoryview) -> Any:
    """The objects of a file in the format before 1.6."""
    position = 0
    parts = []
    storages: dict[str, Storage] = {}
    ranges: dict[str, tuple[int, int]] = {}

    def load_storage(key: Any) -> Storage:
        kind, name, count, view = _storage_id(key)
        root = storages.get(name)
        if root is None:
            root = Storage(kind.dtype, count, lambda: _legacy_values(data, ranges, name))
            storages[name] = root
        if view is None:
            return root
        return _legacy_view(root, view)

    for _ in range(3):
        machine = PickleMachine(data, find_standard, position=position)
        parts.append(machine.load())
        position = machine.position
    magic, version, machine_facts = parts
    if magic != LEGACY_MAGIC or version != LEGACY_VERSION:
        raise WeightError(
            f"PyTorch file of an unknown version {version!r:.20} ({LEGACY_VERSION} is)"
        )
    little = machine_facts.get("little_endian", True) if isinstance(machine_facts, dict) else True
    machine = PickleMachine(data, find_global, load_storage, position)
    objects = machine.load()
    machine = PickleMachine(data, find_standard, position=machine.position)
    keys = machine.load()
    position = machine.position
    if not isinstance(keys, list):
        raise WeightError("corrupt PyTorch file: the list of storages")
    for key in keys:
        position = _legacy_range(data, position, storages.get(str(key)), ranges, str(key))
    for name, storage in storages.items():
        if name not in ranges:
            raise WeightError(f"corrupt PyTorch file: the storage {name!r:.40} is missing")
        storage.byte_order = "<" if little else ">"
    return objects


def _legacy_range(data, position: int, storage: Storage | None, ranges: dict, key: str) -> int:
    """Notes where a storage's values lie; returns where they end."""
    if storage is None:
        raise WeightError(f"corrupt PyTorch file: the storage {key!r:.40} belongs to no tensor")
    if position + 8 > len(data):
        raise WeightError("PyTorch file: truncated: the storages are incomplete")
    (count,) = struct.unpack("<q", data[position : position + 8])
    start = position + 8
    end = start + count * item_size(storage.dtype)
    if count != storage.count or end > len(data):
        raise WeightError(
            f"PyTorch file: truncated or corrupt: storage {key} claims {count} values of"
            f" {storage.dtype} ({storage.count} were announced), {len(data) - start} bytes are left"
        )
    ranges[key] = (start, end)
    return end


def _legacy_values(data: memoryview, ranges: dict, name: str) -> memoryview:
    start, end = ranges[name]
    return data[start:end]


def _legacy_view(root: Storage, view: Any) -> Storage:
    """A part of a storage, as files of the very first versions have it."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise WeightError("corrupt PyTorch file: the view of a storage")
    _key, offset, count = view
    valid = type(offset) is int and type(count) is int and offset >= 0 and count >= 0
    if not valid or offset + count > root.count:
        raise WeightError("corrupt PyTorch file: the view of a storage reaches beyond it")
    size = item_size(root.dtype)
    return Storage(root.dtype, count, lambda: root.view()[offset * size : (offset + count) * size])
