"""The names that a pickle of weights may use, and the harmless things that they stand for here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from htc.weights.pickle_machine import Global, Shell
from htc.weights.tensors import LazyTensor, WeightError, checked_shape


class Opaque(Shell):
    """A stand-in for an object that says nothing about weights (a training log, say)."""


class ArrayShell(Shell):
    """A NumPy array: made empty, filled by its state."""

    def __init__(self):
        self.tensor: LazyTensor | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise WeightError("pickle: corrupt: the state of an array")
        _version, shape, dtype, fortran, raw = state
        self.tensor = array_from_bytes(raw, dtype, shape, "F" if fortran else "C")


class DTypeShell(Shell):
    """numpy.dtype: made from a short code, its byte order set by its state."""

    def __init__(self, code: str):
        try:
            self.dtype = np.dtype(code)
        except TypeError:
            raise WeightError(f"pickle: array of unknown type {code!r:.40}") from None
        if self.dtype.hasobject or self.dtype.kind not in "biufc":
            raise WeightError(f"pickle: an array of {code!r:.40} is not weights; it is not read")

    def set_state(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise WeightError("pickle: corrupt: the byte order of an array")
        if order != "|":
            self.dtype = self.dtype.newbyteorder(order)


def array_from_bytes(raw: Any, dtype: Any, shape: Any, order: str = "C") -> LazyTensor:
    """The array whose values are `raw`, which must be of exactly the right length."""
    if not isinstance(dtype, DTypeShell):
        raise WeightError("pickle: corrupt: the type of an array")
    shape = checked_shape(shape, "pickle: array")
    if isinstance(raw, str):  # bytes as Python 2 wrote them
        raw = raw.encode("latin-1")
    if not isinstance(raw, (bytes, bytearray)):
        raise WeightError(f"pickle: the values of an array are a {type(raw).__name__}, not bytes")
    wanted = math.prod(shape) * dtype.dtype.itemsize
    if len(raw) != wanted:
        raise WeightError(
            f"pickle: an array of shape {shape} has {len(raw)} bytes instead of {wanted}"
        )
    native = dtype.dtype.newbyteorder("=")

    def read() -> np.ndarray:
        stored = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
        return np.array(stored, native, order="C")

    return LazyTensor(shape, native.name, read)


def _ordered_dict(items: Any = ()) -> dict:
    if isinstance(items, dict):
        return dict(items)
    pairs = list(items) if isinstance(items, (list, tuple)) else None
    if pairs is None or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise WeightError("pickle: corrupt: the items of a dictionary")
    if not all(isinstance(key, (str, int)) for key, _ in pairs):
        raise WeightError("pickle: corrupt: the keys of a dictionary")
    return dict(pairs)


def _default_dict(*_factory: Any) -> dict:
    return {}


def _sequence(kind: type):
    def build(items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple)):
            raise WeightError(f"pickle: corrupt: the items of a {kind.__name__}")
        return kind(items)

    return build


def _set(kind: type):
    def build(items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple)):
            raise WeightError(f"pickle: corrupt: the items of a {kind.__name__}")
        if not all(isinstance(item, (str, int, float, bytes, type(None))) for item in items):
            raise WeightError(f"pickle: corrupt: the items of a {kind.__name__}")
        return kind(items)

    return build


def _raw_bytes(kind: type):
    def build(value: Any = b"", encoding: str = "latin-1") -> Any:
        if isinstance(value, str) and encoding.lower() in ("latin-1", "latin1"):
            value = value.encode("latin-1")
        if not isinstance(value, (bytes, bytearray)):  # a number would be a length to allocate
            raise WeightError(f"pickle: corrupt: {kind.__name__} of a {type(value).__name__}")
        return kind(value)

    return build


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise WeightError("pickle: corrupt: bytes written as text")
    return text.encode("latin-1")


def _reconstruct(_kind: Any, _shape: Any, _code: Any) -> ArrayShell:
    return ArrayShell()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> ArrayShell:
    shell = ArrayShell()
    shell.tensor = array_from_bytes(raw, dtype, shape, "F" if order == "F" else "C")
    return shell


def _scalar(dtype: Any, raw: Any = None) -> Any:
    return array_from_bytes(raw, dtype, ()).read().item()


def _dtype(code: Any, *_align_and_copy: Any) -> DTypeShell:
    if isinstance(code, Global):  # np.dtype(np.float32)
        code = code.name.rpartition(".")[2]
    if not isinstance(code, str):
        raise WeightError("pickle: corrupt: the type of an array")
    return DTypeShell(code)


def _copyreg_reconstructor(kind: Any, _base: Any, _state: Any) -> Any:
    if isinstance(kind, Global) and kind.name in _INERT:
        return Opaque()
    raise WeightError(f"pickle: the file asks to build {kind!r}, which is not allowed")


def _getattr(owner: Any, *_name: Any) -> Any:
    # mmengine's training log stores its own methods so; of anything else, it is an attack.
    if isinstance(owner, Opaque) or (isinstance(owner, Global) and owner.name in _INERT):
        return Opaque()
    raise WeightError("pickle: the file asks to call builtins.getattr, which is not allowed")


def _inert(*_args: Any) -> Opaque:
    return Opaque()


# Objects found beside the weights in files of well-known tools. None of them is made: an Opaque is.
_INERT = {
    "argparse.Namespace",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "mmcv.utils.config.ConfigDict",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
}

_CALLS = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "builtins.dict": _ordered_dict,
    "builtins.list": _sequence(list),
    "builtins.tuple": _sequence(tuple),
    "builtins.set": _set(set),
    "builtins.frozenset": _set(frozenset),
    "builtins.bytes": _raw_bytes(bytes),
    "builtins.bytearray": _raw_bytes(bytearray),
    "builtins.getattr": _getattr,
    "copyreg._reconstructor": _copyreg_reconstructor,
    "_codecs.encode": _encode,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": _dtype,
    **dict.fromkeys(_INERT, _inert),
}

# Names that may be mentioned, never called.
_TYPES = {
    *(f"builtins.{name}" for name in ("int", "float", "bool", "str", "complex", "object")),
    "numpy.ndarray",
    *(f"numpy.{name}" for name in ("float16", "float32", "float64", "bool_", "uint8", "int8")),
    *(f"numpy.{name}" for name in ("int16", "int32", "int64", "uint16", "uint32", "uint64")),
}


def standard_global(module: str, name: str) -> Global | None:
    """What a name of Python's or NumPy's stands for; None where it is not on the list."""
    full = f"{module}.{name}"
    full = full.replace("__builtin__.", "builtins.", 1) if module == "__builtin__" else full
    full = "copyreg." + name if module == "copy_reg" else full
    full = full.replace("numpy._core.", "numpy.core.", 1)  # NumPy 2's place for it
    if full in _CALLS:
        return Global(full, _CALLS[full])
    if full in _TYPES or full.rpartition(".")[0] in _INERT:  # or a method of a stand-in
        return Global(full)
    return None


def refuse(module: str, name: str) -> WeightError:
    """The error for a name that is not on the list."""
    return WeightError(
        f"the file asks for {module}.{name}, which is not part of a file of weights: nothing was"
        " run and nothing is loaded. If you trust the file, save its state dict alone"
    )


def find_standard(module: str, name: str) -> Global:
    """standard_global() for files that have no other names, such as Paddle's."""
    found = standard_global(module, name)
    if found is None:
        raise refuse(module, name)
    return found
