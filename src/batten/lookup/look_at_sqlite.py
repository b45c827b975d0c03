"""Looks at databases of SQLite. Takes no lock, makes no file beside one, and changes nothing.

A database that nobody writes to is read as it lies. A database may have a write-ahead log, or a
journal of a transaction that was cut off. It is copied with that, and SQLite brings the copy in
order. To read the original would change it. What changes meanwhile is looked at again.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from batten.lookup.telling_lacks import CannotLookError, Found, tell_batches, tell_gone, tell_rows
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code

if TYPE_CHECKING:
    import sqlite3

COUNTED_BYTES_MAX = 64 << 20
"""A database is counted in passing, or copied for it, only up to this size."""

COPIED_BYTES_MAX = 1 << 30
"""One is copied for a thorough look only up to this size."""

_AS_IT_LIES = "mode=ro&immutable=1"
_STEPS = 1000
_STEPS_MAX = 20_000_000
_STEPS_THOROUGH_MAX = 2_000_000_000
"""What a question may cost, in steps of SQLite: a view of others can be endless."""

Look = Callable[["sqlite3.Connection", bool], Found]


class _Stamp(NamedTuple):
    """A file as it is: any change makes another."""

    inode: int
    size: int
    modified_ns: int


def look_at_sqlite(place: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By the tokens, and by the rows where these can be counted."""
    where = given.where

    def look(base: sqlite3.Connection, is_counted: bool) -> Found:
        yield from _look_at_table(base, where.table, given, is_counted, is_thorough)

    yield from look_at_database(where.locate(place), given, look, is_thorough=is_thorough)


def look_at_database(path: str, given: Delivery, look: Look, *, is_thorough: bool) -> Found:
    """`look` is given whether rows are to be counted."""
    name = os.path.basename(path)
    # What lies beside a database lies beside the file that a link leads to.
    path = os.path.realpath(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        yield tell_gone(given, f"{name} is gone")
        return
    if not stat.S_ISREG(found.st_mode):
        yield Code.LOST_TABLE, f"{name} is no file"
        return
    if not found.st_size:
        yield tell_gone(given, f"{name} is empty")
        return
    if _is_locked_here(found):
        raise CannotLookError("this process is at work with it")
    beside = [each for suffix in ("-wal", "-journal") if _is_of_use(each := path + suffix)]
    before = _stamp(path)
    try:
        told = list(_ask(path, beside, look, is_thorough))
    finally:
        # Then the reading mixed two states.
        if _stamp(path) != before:
            raise CannotLookError("somebody is writing to it")
    yield from told


def _is_locked_here(found: os.stat_result) -> bool:
    """Whether this process itself holds a lock of the file. The kernel would drop that, once any of
    its descriptors of the file is closed."""
    if not _is_open_here(found):
        return False  # The kernel's table takes milliseconds to read.
    owner, inode = str(os.getpid()), f":{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            fields = [line.split() for line in locks]
    except OSError:
        return False
    return any(
        mine == owner and file.endswith(inode) for each in fields for mine, file in pairwise(each)
    )


def _is_open_here(found: os.stat_result) -> bool:
    """Whether this process has the file open, as far as can be told."""
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # The one of the listing is closed by now.
                if os.path.samestat(os.stat(int(descriptor)), found):
                    return True
    except OSError:
        return True
    return False


def _is_of_use(path: str) -> bool:
    """Whether SQLite would take something from the file: one that is kept for the next transaction
    begins with zeros."""
    try:
        with _open_file(path) as file:
            return any(file.read(8))
    except FileNotFoundError:
        return False


def _open_file(path: str) -> BinaryIO:
    """Waits for nobody."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CannotLookError(f"{os.path.basename(path)} is no file")
    return open(descriptor, "rb")


def _stamp(path: str) -> list[_Stamp | None]:
    def find(name: str) -> _Stamp | None:
        try:
            found = os.stat(name)
        except FileNotFoundError:
            return None
        return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)

    return [find(path + suffix) for suffix in ("", "-wal", "-journal")]


def _ask(path: str, beside: list[str], look: Look, is_thorough: bool) -> Found:
    size = os.stat(path).st_size
    is_counted = size <= COUNTED_BYTES_MAX or is_thorough
    if not beside:
        # It takes no lock and makes no file beside the database.
        yield from _open(path, _AS_IT_LIES, look, is_counted, is_thorough)
        return
    size += sum(os.stat(each).st_size for each in beside)
    if size > (COPIED_BYTES_MAX if is_thorough else COUNTED_BYTES_MAX):
        raise CannotLookError(
            f"{os.path.basename(beside[0])} belongs to it, and it is too large to be copied"
        )
    with _make_folder() as folder:
        for each in (path, *beside):
            _copy(each, Path(folder, os.path.basename(each)), size)
        copied = str(Path(folder, os.path.basename(path)))
        yield from list(_open(copied, "mode=rw", look, is_counted, is_thorough))


@contextmanager
def _make_folder() -> Iterator[str]:
    try:
        made = tempfile.TemporaryDirectory(prefix="batten-look-")
    except OSError as error:
        raise CannotLookError(f"it can't be copied: {error.strerror}") from error
    with made as folder:
        yield folder


def _copy(source: str, target: Path, bytes_max: int) -> None:
    with _open_file(source) as file:
        while bytes_max > 0 and (data := file.read(min(bytes_max, 1 << 20))):
            bytes_max -= len(data)
            try:
                with target.open("ab") as copy:
                    copy.write(data)
            except OSError as error:
                raise CannotLookError(f"it can't be copied: {error.strerror}") from error


def _open(path: str, how: str, look: Look, is_counted: bool, is_thorough: bool) -> Found:
    import sqlite3
    from urllib.parse import quote

    left = (_STEPS_THOROUGH_MAX if is_thorough else _STEPS_MAX) // _STEPS

    def is_enough() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, timeout=0)) as base:
            base.set_progress_handler(is_enough, _STEPS)
            yield from look(base, is_counted)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            yield Code.LOST_TABLE, f"{os.path.basename(path)} can't be read: {error}"
            return
        with open(path, "rb") as file:  # Where the system forbids it, that is the reason.
            file.read(1)
        is_short = error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHORT_READ
        if code == sqlite3.SQLITE_CORRUPT or (is_short and how == _AS_IT_LIES):
            raise
        raise CannotLookError(str(error).removesuffix(".")) from error


def _look_at_table(
    base: sqlite3.Connection, table: str, given: Delivery, is_counted: bool, is_thorough: bool
) -> Found:
    def has(name: str) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?"
        return base.execute(query, (name.lower(),)).fetchone() is not None

    held: set[int] = set()
    if has("batten_tokens"):
        query = (
            "SELECT batch FROM batten_tokens WHERE target = ? COLLATE NOCASE "
            "AND (dataset = ? OR ? = '')"
        )
        ours = (table, given.dataset, given.dataset)
        held = {batch for (batch,) in base.execute(query, ours)}
    if not has(table):
        told = "the table is gone"
        yield (
            (Code.LOST_TABLE, f"{told}, and its tokens are there")
            if held
            else tell_gone(given, told)
        )
        return
    if is_thorough and (told := base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        yield Code.UNREADABLE_DESTINATION, f"the database is damaged: {told}".splitlines()[0]
        return
    if lacking := tell_batches(held, given):
        yield lacking
    elif given.adds_rows or given.has_own_keys:
        if not is_counted:
            raise CannotLookError("it is large: only verify counts its rows")
        query, values = select("count(*)", table, given)
        rows = base.execute(query, values).fetchone()[0]
        if rows < given.rows:
            yield tell_rows(rows, given)


def select(what: str, table: str, given: Delivery) -> tuple[str, list[str]]:
    """The query for the rows that are its own, and the values for it (decision 0124)."""
    named = ['"{}" = ?'.format(name.replace('"', '""')) for name in given.marks]
    query = 'SELECT {} FROM "{}"'.format(what, table.replace('"', '""'))
    where = f" WHERE {' AND '.join(named)}" if named else ""
    return query + where, list(given.marks.values())
