"""Writers of PyTorch and pickle files that need no PyTorch, byte by byte."""

import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class Name:
    """A global: module and name."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A global called with arguments; `state` is given to the result afterwards."""

    target: Name
    args: tuple
    state: object = None


@dataclass(frozen=True)
class Reference:
    """A persistent id."""

    key: tuple


def pickled(value, protocol=2) -> bytes:
    """A pickle of plain containers, Names, Calls and References."""
    return bytes([0x80, protocol]) + _emit(value, protocol) + b"."


def _emit(value, protocol) -> bytes:
    def one(item):
        return _emit(item, protocol)

    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        length = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(one, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(one, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(one(k) + one(v) for k, v in value.items()) + b"u"
    if isinstance(value, Name):
        if protocol >= 4:
            return one(value.module) + one(value.name) + b"\x93"
        return b"c" + f"{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        state = b"" if value.state is None else one(value.state) + b"b"
        return one(value.target) + one(value.args) + b"R" + state
    if isinstance(value, Reference):
        return one(value.key) + b"Q"
    if isinstance(value, np.ndarray):
        return one(array_call(value))
    raise TypeError(type(value))


def array_call(array: np.ndarray) -> Call:
    """A NumPy array as NumPy pickles itself."""
    multiarray = "numpy.core.multiarray"
    made = Call(Name("numpy", "dtype"), (array.dtype.str[1:], False, True))
    order = array.dtype.str[0]
    dtype = Call(made.target, made.args, (3, order, None, None, None, -1, -1, 0))
    state = (1, array.shape, dtype, False, array.tobytes())
    return Call(Name(multiarray, "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b"), state)


KINDS = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "bfloat16": "BFloat16Storage",
}


class TorchFile:
    """Collects storages, then writes a file in either of PyTorch's formats."""

    def __init__(self):
        self.storages = {}

    def storage(self, values: np.ndarray, kind: str | None = None, claimed=None, view=None):
        """A reference to a new storage; `claimed` lies about its length."""
        key = str(len(self.storages))
        self.storages[key] = values
        return self.reference(key, kind or KINDS[values.dtype.name], claimed or len(values), view)

    @staticmethod
    def reference(key, kind, count, view=None):
        parts = ("storage", Name("torch", kind), key, "cpu", count)
        return Reference((*parts, view))

    @staticmethod
    def window(storage, offset, size, stride, rebuild="_rebuild_tensor_v2"):
        hooks = Call(Name("collections", "OrderedDict"), ())
        args = (storage, offset, tuple(size), tuple(stride), False, hooks)
        return Call(Name("torch._utils", rebuild), args)

    def tensor(self, array: np.ndarray):
        """An ordinary, contiguous tensor."""
        array = np.asarray(array)
        strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides]
        return self.window(self.storage(array.ravel()), 0, array.shape, strides[: array.ndim])

    def write_zip(self, path, objects, protocol=2, byte_order=None, prefix="archive", **pickle):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{prefix}/data.pkl", pickled(_zip_ids(objects), protocol))
            if byte_order:
                archive.writestr(f"{prefix}/byteorder", byte_order)
            for key, values in self.storages.items():
                if byte_order == "big":
                    values = values.astype(values.dtype.newbyteorder(">"))
                archive.writestr(f"{prefix}/data/{key}", values.tobytes())
            archive.writestr(f"{prefix}/version", "3\n")
        return path

    def write_legacy(self, path, objects, protocol=2):
        facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        parts = [pickled(0x1950A86A20F9469CFC6C), pickled(1001), pickled(facts)]
        parts += [pickled(objects, protocol), pickled(list(self.storages))]
        for values in self.storages.values():
            parts.append(struct.pack("<q", len(values)) + values.tobytes())
        Path(path).write_bytes(b"".join(parts))
        return path

    def write(self, form, path, objects, **options):
        write = self.write_legacy if form == "legacy" else self.write_zip
        return write(path, objects, **options)


def _zip_ids(value):
    """Persistent ids of the zip format have five parts, those of the legacy one six."""
    if isinstance(value, Reference):
        return Reference(value.key[:5])
    if isinstance(value, dict):
        return {key: _zip_ids(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_zip_ids(item) for item in value)
    if isinstance(value, Call):
        return Call(value.target, _zip_ids(value.args), value.state)
    return value


class Tools:
    Name = Name
    Call = Call
    Reference = Reference
    TorchFile = TorchFile
    pickled = staticmethod(pickled)
    array_call = staticmethod(array_call)


@pytest.fixture
def tools():
    """The writers of this file."""
    return Tools


@pytest.fixture(params=["zip", "legacy"])
def form(request):
    """Both PyTorch formats."""
    return request.param


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data beside the checkout."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("HTC_SHARED") or root.parent / "shared")
    if not (folder / "reference" / "shapes.json").is_file():
        pytest.skip("the reference data (../shared, or HTC_SHARED) is not at hand")
    return folder
