"""Objects with large arrays, handed from process to process through memory that both map.

The memory is a file without a name: it needs no place in /dev/shm, which is small in containers, and
goes with the last process that has it open, however that one ends.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile

_ALIGNMENT = 64


class SharedFile:
    """One object at a time.

    Args:
        descriptor: of a file that another process made; None makes one.
    """

    def __init__(self, descriptor: int | None = None):
        self.descriptor = _nameless_file() if descriptor is None else descriptor
        self._map: mmap.mmap | None = None

    def write(self, value) -> tuple[bytes, list[tuple[int, int]]]:
        """Put an object into the file; the small message that `read` needs to find it there."""
        buffers: list[pickle.PickleBuffer] = []
        message = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        places, end = [], 0
        for view in views:
            places.append((end, view.nbytes))
            end = -(-(end + view.nbytes) // _ALIGNMENT) * _ALIGNMENT
        target = self._mapped(end)
        for (start, size), view in zip(places, views, strict=True):
            target[start : start + size] = view
        return message, places

    def read(self, message: tuple[bytes, list[tuple[int, int]]], copy: bool = True):
        """The object. Without a copy its arrays are read-only and valid until the next `write`."""
        pickled, places = message
        size = max((start + size for start, size in places), default=0)
        source = memoryview(self._mapped(size))
        buffers = [source[start : start + size] for start, size in places]
        # bytearray, unlike bytes, gives arrays that can be written to.
        parts = [bytearray(part) if copy else part.toreadonly() for part in buffers]
        return pickle.loads(pickled, buffers=parts)

    def close(self) -> None:
        """Give the memory back; arrays read without a copy keep it until they go."""
        self._map = None
        os.close(self.descriptor)

    def _mapped(self, size: int) -> mmap.mmap:
        """The file mapped, at least `size` bytes of it."""
        if self._map is None or len(self._map) < size:
            if os.fstat(self.descriptor).st_size < size:
                os.ftruncate(self.descriptor, size)
            # The old map is left to its last user: arrays may still look into it.
            length = max(os.fstat(self.descriptor).st_size, 1)
            if os.fstat(self.descriptor).st_size == 0:
                os.ftruncate(self.descriptor, length)
            self._map = mmap.mmap(self.descriptor, length)
        return self._map


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("htc-data")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
