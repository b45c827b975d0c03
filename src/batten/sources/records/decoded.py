"""Text that is compressed, or not in UTF-8, is read as if it were plain.

A place in such a file is the number of bytes before it once it is decoded. To get there, all before
it is decoded: onward from where the file stands, or from its start (decision 0092).
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from batten.errors import BattenError
from batten.sources.paths import source_error
from batten.sources.records.input_files import InputFile

PLAIN = "utf-8"

_PIECE_BYTES = 1 << 18

Unpack = Callable[[BinaryIO], Any]


def open_text(source: InputFile, encoding: str) -> io.BufferedReader:
    """The file as bytes in UTF-8, which can be sought in. Bytes that the encoding has no character
    for are left as they are, so that they spoil only their own line. A read raises `ValueError` if
    the file can't be decoded at all."""
    unpack = _UNPACK.get(os.path.splitext(source.name)[1].lower())
    file = source.open()
    if unpack is None and encoding == PLAIN:
        return file
    return io.BufferedReader(_Decoded(file, unpack or _leave_plain, encoding), _PIECE_BYTES)


def read_encoding(encoding: object) -> str:
    """The name of a text encoding, one for each. Raises `UsageError` for what is none."""
    if isinstance(encoding, str):
        with suppress(LookupError, ValueError):
            "".encode(encoding)  # Raises for what makes bytes of bytes.
            name = codecs.lookup(encoding).name
            return PLAIN if name == "utf-8-sig" else name
    raise source_error(
        f"encoding={encoding!r} is no encoding of texts.",
        'Give one that Python knows, such as "latin-1", "cp1252" or "utf-16".',
    )


class _Decoded(io.RawIOBase):
    """Seeks by decoding: backward from the start again."""

    def __init__(self, file: BinaryIO, unpack: Unpack, encoding: str) -> None:
        super().__init__()
        self._packed = file
        self._unpack = unpack
        self._encoding = encoding
        self._begin()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            offset += self._place
        if offset < self._place:
            self._packed.seek(0)
            self._begin()
        while self._place < offset and (piece := self._take(offset - self._place)):
            self._place += len(piece)
        return self._place

    def readinto(self, buffer: Any) -> int:
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def close(self) -> None:
        self._packed.close()
        super().close()

    def _begin(self) -> None:
        self._file = self._unpack(self._packed)
        self._decode = None
        if self._encoding != PLAIN:
            self._decode = (
                codecs.lookup(self._encoding).incrementaldecoder("surrogateescape").decode
            )
        self._held = memoryview(b"")
        self._place = 0
        self._is_at_end = False

    def _take(self, size: int) -> memoryview:
        while not self._held and not self._is_at_end:
            self._held = memoryview(self._read())
        piece, self._held = self._held[:size], self._held[size:]
        return piece

    def _read(self) -> bytes:
        try:
            data = self._file.read(_PIECE_BYTES)
        except Exception as error:  # each library has errors of its own
            is_of_file = isinstance(error, MemoryError | BattenError)
            if is_of_file or getattr(error, "errno", None) is not None:
                raise
            raise ValueError(f"it can't be decompressed: {error}") from error
        self._is_at_end = not data
        if self._decode is None:
            return bytes(data)
        try:
            return self._decode(data, self._is_at_end).encode(PLAIN, "surrogateescape")
        except UnicodeError as error:
            raise ValueError(f"it is not {self._encoding}: {error}") from error


def _leave_plain(file: BinaryIO) -> Any:
    return file


def _unpack_gz(file: BinaryIO) -> Any:
    import gzip

    return gzip.open(file)


def _unpack_bz2(file: BinaryIO) -> Any:
    import bz2

    return bz2.open(file)


def _unpack_xz(file: BinaryIO) -> Any:
    import lzma

    return lzma.open(file)


def _unpack_zst(file: BinaryIO) -> Any:
    """Python's own library reads it from version 3.14 on."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(_Borrowed(file), mode="r"), "zstd")


class _Borrowed:
    """A file that pyarrow does not close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read

    def close(self) -> None:
        return


_UNPACK: dict[str, Unpack] = {
    ".gz": _unpack_gz,
    ".bz2": _unpack_bz2,
    ".xz": _unpack_xz,
    ".zst": _unpack_zst,
}
