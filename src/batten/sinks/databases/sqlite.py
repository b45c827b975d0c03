"""A table of a SQLite database."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from batten.model.disk.destinations.targets import show_table
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.value_class import value_class
from batten.sinks.base import LedgerPlace, Staged, TableSink
from batten.sinks.databases.sqlite_commits import make_commits_durable
from batten.sinks.databases.tables import (
    TOKENS,
    EarlierPublication,
    compare_tokens,
    publish_rows,
    refuse_missing_columns,
    replace_rows,
)
from batten.sinks.failures import refused, unreached
from batten.sinks.located import show_here
from batten.sinks.named import refuse_alike, refuse_own_name
from batten.sinks.rows.json_values import to_json
from batten.sinks.rows.plain_values import as_seconds, list_values
from batten.sinks.rows.replacing import is_bare, schema_with, stage_with, tell_others
from batten.storage.failures import reading_failure, writing_failure
from batten.storage.local.folder import LocalStorage
from batten.storage.local.there import exists

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = (int, float, str, bytes, bool, type(None))
_ATTEMPT = "batten_attempt"
_OF_ROWS = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)
"""Errors of values: an integer of more than 64 bits, one that a constraint forbids."""


@value_class
class SqliteSink(TableSink):
    """`table` in the database file at `path`."""

    path: Path
    table: str
    timeout_seconds: float = 30.0
    kind: ClassVar[str] = "sqlite"

    def fill(self, fill: Callable[[str], str]) -> SqliteSink:
        return replace(
            self,
            path=Path(fill(str(self.path))),
            table=fill(self.table),
            dataset=fill(self.dataset),
            where=self.fill_where(fill),
        )

    def describe(self, folder: Path) -> str:
        return show_table(self.table, os.path.relpath(self.path, folder))

    def identify(self) -> str:
        return f"{os.path.realpath(self.path)}\n{self.table.lower()}"

    def check(self) -> None:
        """Python brings SQLite with it."""

    def open(self, ground: LedgerPlace) -> SqliteDestination:
        shown = show_here(self.kind, ground.book.target, str(ground.folder))
        return SqliteDestination(self, shown)


class SqliteDestination:
    """See `Destination`. A database that is not there is made by `prepare`."""

    def __init__(self, sink: SqliteSink, target: str) -> None:
        self._sink = sink
        self._target = target
        self._connection: sqlite3.Connection | None = None
        self._spelling: str | None = None
        refuse_own_name(target, sink.table)
        if self._is_there():
            self._find_columns()

    def _is_there(self) -> bool:
        """Raises `StorageError` if that can't be told: a database that can't be looked at may have
        all batches."""
        try:
            return exists(self._sink.path)
        except OSError as error:
            raise reading_failure(error, "Looking for", str(self._sink.path)) from error

    def prepare(self, schema: pa.Schema) -> None:
        schema = schema_with(schema, self._sink.where)
        refuse_alike(self._target, schema.names)
        if not self._is_there():
            LocalStorage(self._sink.path.parent).ensure_folder("")
        with self._translated("Preparing"), self._transaction() as connection:
            columns = ", ".join(f"{_quote(f.name)} {_type_of(f.type)}" for f in schema)
            key = ", ".join(map(_quote, self._sink.key))
            primary = f", PRIMARY KEY ({key})" if key else ""
            table = _quote(self._sink.table)
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}{primary})")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {TOKENS} (dataset TEXT, target TEXT, batch INTEGER, "
                "digest TEXT NOT NULL, outcomes TEXT NOT NULL, "
                "PRIMARY KEY (dataset, target, batch))"
            )
        if self._sink.replaces and is_bare(self._find_columns(), schema, self._sink.where):
            self.add_columns(schema)
        refuse_missing_columns(self._target, schema, self._find_columns())

    def add_columns(self, schema: pa.Schema) -> None:
        if not self._is_there():
            return
        with self._translated("Preparing"), self._transaction() as connection:
            found = self._find_columns()  # Under the lock: another job may add one, too.
            refuse_alike(self._target, [*found, *(n for n in schema.names if n not in found)])
            for each in schema if found else ():
                if each.name not in found:
                    connection.execute(
                        f"ALTER TABLE {_quote(self._sink.table)} "
                        f"ADD COLUMN {_quote(each.name)} {_type_of(each.type)}"
                    )

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        if not self._is_there() or not tokens:
            return [TokenState.ABSENT for _ in tokens]
        with self._translated("Asking"):
            connection = self._connect()
            if not self._has_tokens():
                return [TokenState.ABSENT for _ in tokens]
            found = dict(
                connection.execute(
                    f"SELECT batch, digest FROM {TOKENS} WHERE dataset = ? AND target = ?",
                    (tokens[0].dataset, self._find_spelling(tokens[0].dataset)),
                ).fetchall()
            )
        if found:
            make_commits_durable(self._sink.path)
        is_there = bool(self._find_columns())
        return compare_tokens(self._target, tokens, found, is_there=is_there)

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: outcomes are kept beside every token."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        with self._translated("Publishing"), self._transaction() as connection:
            transaction = self._begin(connection, staged)
            staged, sink = stage_with(staged, self._sink.where, self._target), self._sink
            if sink.replaces:
                return replace_rows(transaction, staged, self._target, sink.where)
            return publish_rows(transaction, staged, self._target, is_keyed=bool(sink.key))

    def rehearse(self, staged: Staged) -> None:
        with suppress(_UndoneError), self._translated("Publishing"), self._transaction() as made:
            transaction, is_keyed = self._begin(made, staged), bool(self._sink.key)
            publish_rows(transaction, staged, self._target, is_keyed=is_keyed)
            raise _UndoneError

    def _begin(self, connection: sqlite3.Connection, staged: Staged) -> _SqliteTransaction:
        return _SqliteTransaction(connection, self._sink, self._find_spelling(staged.token.dataset))

    def _find_spelling(self, dataset: str) -> str:
        """The name of the table as the tokens of the dataset have it: SQLite folds its case."""
        if self._spelling is None:
            found = self._connect().execute(
                f"SELECT target FROM {TOKENS} WHERE dataset = ? AND target = ? COLLATE NOCASE",
                (dataset, self._sink.table),
            )
            self._spelling = str((found.fetchone() or [self._sink.table])[0])
        return self._spelling

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            _refuse_special(self._sink.path)
            self._connection = sqlite3.connect(
                self._sink.path, timeout=self._sink.timeout_seconds, isolation_level=None
            )
            # Its name in the folder is to be durable as well, whatever the journal's mode.
            self._connection.execute("PRAGMA synchronous = EXTRA")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # Closing rolls back, also after a failed commit.
            self.close()
            raise

    def _has_tokens(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self._connect().execute(query, (TOKENS,)).fetchone() is not None

    def _find_columns(self) -> list[str]:
        with self._translated("Looking at"):
            query = "SELECT name FROM pragma_table_info(?)"
            found = self._connect().execute(query, (self._sink.table,)).fetchall()
            return [name for (name,) in found]

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            self.close()
            remedy = (
                "Remove the cause (another program that holds it, a full disk, a missing "
                "permission)"
            )
            raise unreached(action, self._target, error, remedy=remedy) from error
        except (sqlite3.Error, OverflowError) as error:
            self.close()
            raise refused(action, self._target, error) from error


def _refuse_special(path: Path) -> None:
    """SQLite waits for ever at a pipe, in the place of the database or of a file beside it.

    Raises `StorageError`."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        beside = f"{path}{suffix}"
        try:
            mode = os.stat(beside).st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            error = OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), beside)
            raise writing_failure(error, "Opening", beside)


class _UndoneError(Exception):
    """Ends a transaction that is not to be committed."""


class _SqliteTransaction:
    """A transaction that has the database's one write lock from its begin: what was found stays."""

    def __init__(self, connection: sqlite3.Connection, sink: SqliteSink, target: str) -> None:
        self._connection = connection
        self._sink = sink
        self._target = target

    def find(self, tokens: Sequence[Token]) -> list[EarlierPublication | None]:
        query = (
            f"SELECT digest, outcomes FROM {TOKENS} WHERE dataset = ? AND target = ? AND batch = ?"
        )
        asked = [(token.dataset, self._target, token.batch) for token in tokens]
        found = [self._connection.execute(query, each).fetchone() for each in asked]
        return [each and EarlierPublication(digest=each[0], outcomes=each[1]) for each in found]

    def claim(self, token: Token, outcomes: str, had: EarlierPublication | None) -> bool:
        self._connection.execute(
            f"INSERT OR REPLACE INTO {TOKENS} (dataset, target, batch, digest, outcomes) "
            "VALUES (?, ?, ?, ?, ?)",
            (token.dataset, self._target, token.batch, token.digest, outcomes),
        )
        return True

    def hold(self) -> None:
        """The transaction has the database's one write lock."""

    def find_others(self, token: Token, *, has_own: bool) -> str:
        query = f"SELECT dataset FROM {TOKENS} WHERE target = ? COLLATE NOCASE AND dataset <> ?"
        others = self._connection.execute(query, (self._target, token.dataset)).fetchone()
        rows = self._connection.execute(f"SELECT 1 FROM {_quote(self._sink.table)} LIMIT 1")
        return tell_others(others[0] if others else "", is_empty=has_own or not rows.fetchone())

    def empty(self, token: Token, where: Mapping[str, str]) -> None:
        query = f"DELETE FROM {_quote(self._sink.table)}"
        if where:
            query += " WHERE " + " AND ".join(f"{_quote(name)} = ?" for name in where)
        self._connection.execute(query, list(where.values()))
        self._connection.execute(
            f"DELETE FROM {TOKENS} WHERE dataset = ? AND target = ?",
            (token.dataset, self._target),
        )

    def clear(self, staged: Staged) -> bool:
        column = staged.schema.names[0]
        if column not in self._sink.key:
            return False
        query = f"DELETE FROM {_quote(self._sink.table)} WHERE {_quote(column)} = ?"
        self._connection.executemany(query, [(key,) for key in staged.load_keys()])
        return True

    def attempt(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Exception | None:
        self._connection.execute(f"SAVEPOINT {_ATTEMPT}")
        try:
            self._insert(schema, rows)
        except _OF_ROWS as error:
            # A constraint can be one that rolls back the whole transaction.
            if not self._connection.in_transaction:
                raise
            self._connection.execute(f"ROLLBACK TO {_ATTEMPT}")
            self._connection.execute(f"RELEASE {_ATTEMPT}")
            return error
        self._connection.execute(f"RELEASE {_ATTEMPT}")
        return None

    def _insert(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> None:
        names = ", ".join(map(_quote, schema.names))
        places = ", ".join("?" * len(schema.names))
        query = f"INSERT INTO {_quote(self._sink.table)} ({names}) VALUES ({places})"
        if self._sink.key:
            kept = [name for name in schema.names if name not in self._sink.key]
            changed = ", ".join(f"{_quote(name)} = excluded.{_quote(name)}" for name in kept)
            action = f"UPDATE SET {changed}" if kept else "NOTHING"
            query += f" ON CONFLICT ({', '.join(map(_quote, self._sink.key))}) DO {action}"
        for batch in rows:
            columns = [list(map(_plain, list_values(column))) for column in batch.columns]
            self._connection.executemany(query, zip(*columns, strict=True))


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type_of(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    if pa.types.is_floating(kind):
        return "REAL"
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return "BLOB" if is_bytes or pa.types.is_fixed_size_binary(kind) else "TEXT"


def _plain(value: Any) -> Any:
    """What SQLite has no type for: times as ISO 8601, durations as seconds, the rest as JSON."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return as_seconds(value)
    if isinstance(value, Decimal):
        return str(value)
    return to_json(value)
