"""Whatever fails while an open file is read says so in three sentences, in whoever's hands it is.

The kernel shows a process's memory as a file that nobody can read at its start."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.errors import StorageError
from batten.storage.changing.setting_aside import is_same
from batten.storage.digests import digest_file, digest_open
from batten.storage.local.folder import LocalStorage
from batten.storage.reading import close_with

UNREADABLE = "mem"


@pytest.fixture
def storage() -> LocalStorage:
    return LocalStorage("/proc/self")


READS: dict[str, Callable[[BinaryIO], Any]] = {
    "some": lambda file: file.read(10),
    "much": lambda file: file.read(1 << 20),
    "all": lambda file: file.read(),
    "into": lambda file: file.readinto(bytearray(10)),  # type: ignore[attr-defined]
    "line": lambda file: file.readline(),
    "end": lambda file: file.seek(0, os.SEEK_END),
    "digest": digest_open,
    "arrow": lambda file: pa.PythonFile(file).read(10),
}


@pytest.mark.parametrize("way", READS)
def test_a_read_that_fails(storage: LocalStorage, way: str) -> None:
    with storage.open(UNREADABLE) as file, pytest.raises(StorageError) as caught:
        READS[way](file)

    assert caught.value.errno in (errno.EIO, errno.EINVAL)
    assert "/proc/self/mem" in caught.value.what
    assert caught.value.safe == "Nothing was changed."
    assert caught.value.next


def test_what_reads_in_it(storage: LocalStorage) -> None:
    for act in (
        lambda: digest_file(storage, UNREADABLE),
        lambda: is_same(storage, UNREADABLE, "status"),
    ):
        with pytest.raises(StorageError, match="mem"):
            act()


def test_it_reads_as_files_do(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(1000))}), tmp_path / "part")
    data = (tmp_path / "part").read_bytes()
    storage = LocalStorage(tmp_path)
    with storage.open("part") as file:
        assert file.read(4) == b"PAR1"
        assert file.tell() == 4
        assert file.read() == data[4:]
        assert file.seek(-4, os.SEEK_END) == len(data) - 4
        assert file.read(100) == b"PAR1"
        assert pq.ParquetFile(file, pre_buffer=False).read().num_rows == 1000
    assert file.closed


def test_a_close_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    with LocalStorage(tmp_path).open("file") as file:
        assert file.read() == b"text"
        os.close(file.fileno())
    assert file.closed


class Unclosable(io.BytesIO):
    def close(self) -> None:
        if not self.closed:
            super().close()
            raise OSError(errno.EIO, "Input/output error")


class Owner:
    """Of an open file."""


def test_a_file_is_closed_with_its_owner_though_its_close_fails() -> None:
    owner, file = Owner(), Unclosable()
    close_with(owner, file)
    del owner
    assert file.closed


def test_a_file_is_closed_before_its_owner_is_gone() -> None:
    owner, file = Owner(), Unclosable()
    close = close_with(owner, file)
    close()
    assert file.closed
    close()
