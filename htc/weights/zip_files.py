"""Entries of a zip file; every claim is checked against the file's length before it is trusted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from htc.weights.tensors import WeightError

DEFLATE_LIMIT = 1032  # deflate cannot expand further (zlib's own documentation)
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, struct.error),
    *(NotImplementedError, RuntimeError),
)


class ZipReader:
    """The entries of a zip file that is in memory (or mapped)."""

    def __init__(self, data: memoryview):
        self.data = data
        try:
            self.archive = zipfile.ZipFile(_Window(data))
            entries = self.archive.infolist()
        except (zipfile.BadZipFile, ValueError, OverflowError, struct.error) as error:
            raise WeightError(f"zip file: truncated or corrupt: {error}") from None
        except NotImplementedError as error:
            raise WeightError(f"zip file: {error}") from None
        self._verified: set[str] = set()
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise WeightError("zip file: corrupt: two entries of the same name")
        # Entries that overlap would let a small file unpack to any size.
        if sum(entry.compress_size for entry in entries) > len(data):
            raise WeightError("zip file: corrupt: the entries are larger than the file")

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    def size(self, name: str) -> int:
        """The length of an entry's contents, which the file's own length can pay for."""
        entry = self.entries[name]
        limit = entry.compress_size
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            limit = DEFLATE_LIMIT * (entry.compress_size + 1)
        elif entry.compress_type != zipfile.ZIP_STORED:
            raise WeightError(
                f"zip file: {name!r:.80} is compressed by an unsupported method"
                f" ({entry.compress_type})"
            )
        if entry.flag_bits & 1:
            raise WeightError(f"zip file: {name!r:.80} is encrypted")
        if entry.file_size > limit:
            raise WeightError(
                f"zip file: corrupt: {name!r:.80} claims {entry.file_size} bytes out of"
                f" {entry.compress_size}"
            )
        return entry.file_size

    def stored(self, name: str) -> memoryview:
        """The contents of an entry, checksum verified; no copy where it is not compressed."""
        if name not in self.entries:
            raise WeightError(f"zip file: {name!r:.80} is missing")
        size = self.size(name)
        entry = self.entries[name]
        try:
            if entry.compress_type == zipfile.ZIP_STORED:
                contents = self._in_place(entry, size)
                self._verify(entry, contents)
                return contents
            with self.archive.open(entry) as stream:
                contents = stream.read(size)
        except _DAMAGE as error:
            raise WeightError(f"zip file: truncated or corrupt: {name!r:.80}: {error}") from None
        if len(contents) != size:
            raise WeightError(
                f"zip file: truncated: {name!r:.80} has {len(contents)} of {size} bytes"
            )
        return memoryview(contents)

    def beginning(self, name: str, count: int) -> memoryview:
        """The first `count` bytes of an entry (or all, where it is shorter), unverified."""
        size = self.size(name)
        entry = self.entries[name]
        try:
            if entry.compress_type == zipfile.ZIP_STORED:
                return self._in_place(entry, size)[:count]
            with self.archive.open(entry) as stream:
                return memoryview(stream.read(min(size, count)))
        except _DAMAGE as error:
            raise WeightError(f"zip file: truncated or corrupt: {name!r:.80}: {error}") from None

    def _in_place(self, entry: zipfile.ZipInfo, size: int) -> memoryview:
        header = bytes(self.data[entry.header_offset : entry.header_offset + 30])
        if len(header) != 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no entry where the directory says")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = entry.header_offset + 30 + name_length + extra_length
        contents = self.data[start : start + size]
        if len(contents) != size:
            raise zipfile.BadZipFile("the entry reaches beyond the file")
        return contents

    def _verify(self, entry: zipfile.ZipInfo, contents: memoryview) -> None:
        if entry.filename not in self._verified:
            if zlib.crc32(contents) != entry.CRC:
                raise zipfile.BadZipFile("the checksum does not fit: the contents were damaged")
            self._verified.add(entry.filename)


class _Window(io.RawIOBase):
    """A memoryview as a seekable file, as zipfile wants it, without a copy of the whole."""

    def __init__(self, data: memoryview):
        super().__init__()
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._position + size
        taken = bytes(self._data[self._position : end])
        self._position += len(taken)
        return taken
