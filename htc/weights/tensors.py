"""Arrays that a file claims to hold, described before anything of their size is allocated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class WeightError(ValueError):
    """A weight file that cannot be read, trusted or used; the message says why and what to do."""


@dataclass(frozen=True)
class LazyTensor:
    """An array of a file: its shape and type are known, its values are read when asked for.

    dtype is NumPy's name of the type, or "bfloat16", which is read as float32.
    """

    shape: tuple[int, ...]
    dtype: str
    read_array: Callable[[], np.ndarray] = field(repr=False)

    def read(self) -> np.ndarray:
        """The values, in memory of their own."""
        return self.read_array()

    @property
    def nbytes(self) -> int:
        """Bytes that read() allocates."""
        item = 4 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize
        return math.prod(self.shape) * item


def lazy(array: np.ndarray) -> LazyTensor:
    """An array that is in memory already."""
    return LazyTensor(tuple(array.shape), array.dtype.name, lambda: array)


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """uint16 bit patterns of bfloat16 values -> the same values in float32 (exact)."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def checked_shape(shape, what: str) -> tuple[int, ...]:
    """A shape as a tuple of non-negative Python ints; WeightError for anything else."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 32:
        raise WeightError(f"{what}: expected a shape, got {type(shape).__name__}")
    if not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        raise WeightError(f"{what}: expected non-negative sizes, got {tuple(shape)!r:.80}")
    return tuple(shape)
