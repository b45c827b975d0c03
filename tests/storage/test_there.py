"""What can't be looked at is not taken for what is not there, on any version of Python."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENAMETOOLONG
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batten.cache.clearing.inspection import find_cache
from batten.errors import StorageError
from batten.model.disk.destinations.tokens import Token, TokenState
from batten.sinks.databases.sqlite import SqliteDestination, SqliteSink
from batten.storage.local.there import exists, is_file, is_folder, is_link, lies

if TYPE_CHECKING:
    from conftest import WithoutPermission

ALL = pytest.mark.parametrize("ask", [exists, is_file, is_folder, is_link, lies])


@ALL
def test_what_cannot_be_told_raises(ask: Callable[[Path], bool], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="name too long") as raised:
        ask(tmp_path / ("x" * 300))
    assert raised.value.errno == ENAMETOOLONG


@ALL
def test_what_is_not_there(ask: Callable[[Path], bool], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file/below", "zero\0byte"):
        assert not ask(tmp_path / name)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    kinds = {
        name: [ask(tmp_path / name) for ask in (exists, is_file, is_folder, is_link, lies)]
        for name in (".", "file", "loop", "link")
    }
    assert kinds == {
        ".": [True, False, True, False, True],
        "file": [True, True, False, False, True],
        "loop": [False, False, False, True, True],
        "link": [True, True, False, True, True],
    }


def test_a_database_that_cannot_be_looked_at_is_not_one_that_has_nothing(
    tmp_path: Path, without_permission: WithoutPermission
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "base.db").touch()
    destination = SqliteDestination(SqliteSink(path=tmp_path / "base.db", table="t"), "base.db:t")
    token = Token(dataset="d", batch=0, digest="0" * 64, fingerprint="")
    assert destination.lookup([token]) == [TokenState.ABSENT]
    sink = SqliteSink(path=folder / "base.db", table="t")
    destination._sink = sink
    with without_permission(folder):
        for ask in (lambda: destination.lookup([token]), lambda: SqliteDestination(sink, "t")):
            with pytest.raises(StorageError, match="permission"):
                ask()


def test_a_cache_that_cannot_be_looked_at_is_not_told_to_be_none(
    tmp_path: Path, without_permission: WithoutPermission
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    with without_permission(folder), pytest.raises(StorageError, match="permission"):
        find_cache(folder / "cache")
