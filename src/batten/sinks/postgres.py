"""A table of a PostgreSQL database: each batch by COPY, in one transaction with its token.

A connection that hangs is cut off by a watchdog of this side: a server that is stopped answers
nothing, not even that a statement took too long. Whether a commit of which no answer came happened
is then asked on a new connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, LiteralString
from urllib.parse import parse_qs, unquote, urlsplit

from batten.errors import RefusedError, UsageError
from batten.fingerprint.secret import Secret
from batten.model.tokens import Held, Published, Token
from batten.model.value_class import value_class
from batten.sinks.base import BatchSink, Ground, Staged
from batten.sinks.copying import encode_copy, name_type
from batten.sinks.failures import refused, unreached
from batten.sinks.named import refuse_long, refuse_own_name
from batten.sinks.optional import ensure_optional
from batten.sinks.tables import TOKENS, Claim, compare_tokens, publish_rows, refuse_missing_columns
from batten.sinks.watchdog import Watchdog

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

_PIECE_BYTES = 1 << 20
_NAME_BYTES_MAX = 63

_ATTEMPT: Final = "batten_attempt"
_ROW_CLASSES = frozenset({"22", "23", "44"})
"""A value that its type can't hold, a constraint, the condition of a view."""
_ROW_STATES = frozenset({"21000", "54000", "P0001"})
"""Two rows of one key, a value too large for an index, a trigger that raises."""

_PUT_TOKEN = (
    "INSERT INTO {} (digest, outcomes, dataset, target, batch) "
    "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_RENEW_TOKEN = (
    "UPDATE {} SET digest = %s, outcomes = %s "
    "WHERE dataset = %s AND target = %s AND batch = %s AND digest = %s"
)


@value_class
class PostgresSink(BatchSink):
    """`table` (`schema.table`) of the database that `address` names, a URI or a connection string;
    what it leaves out comes from the environment, as libpq says. `timeout_seconds` is the longest
    that one step may take: connecting, a piece of a batch, a commit."""

    address: str | Secret = field(repr=False)
    table: str
    key: tuple[str, ...] = ()
    timeout_seconds: float = 60.0
    kind: ClassVar[str] = "postgres"

    def fill(self, fill: Callable[[str], str]) -> PostgresSink:
        return replace(self, table=fill(self.table), dataset=fill(self.dataset))

    def describe(self, folder: Path) -> str:
        return f"table {self.table} of {_name_place(self.read_address())}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return (self.address.name,) if isinstance(self.address, Secret) else ()

    def read_address(self) -> str:
        """The address itself, with what is secret in it: to connect, and never to be shown."""
        return self.address() if isinstance(self.address, Secret) else self.address

    def identify(self) -> str:
        return self.describe(Path())

    def check(self) -> None:
        ensure_optional("psycopg", ".write_postgres()", package="'psycopg[binary]'")

    def open(self, ground: Ground) -> PostgresDestination:
        return PostgresDestination(self, ground.book.target)


def _name_place(address: str) -> str:
    """The database and where it is, without user and password."""
    hosts = ""
    if "://" in address:
        scheme, _, rest = address.partition("://")
        try:
            # A password may hold what ends the host elsewhere.
            parts = urlsplit(f"{scheme}://{rest.rpartition('@')[2]}")
        except ValueError:
            raise UsageError(
                "The address of a PostgreSQL server can't be read.",
                safe="Nothing was read or written.",
                next="Give it like this: postgresql://user@host:5432/base",
            ) from None
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found = {"dbname": parts.path.strip("/"), **asked}
        # There may be several, each with a port.
        hosts = parts.netloc
    else:
        pairs = re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", address)
        found = {name: value.strip("'") for name, value in pairs}
    hosts = hosts or found.get("host") or os.environ.get("PGHOST", "localhost")
    if not re.search(r":\d+$", hosts):
        hosts += ":" + (found.get("port") or os.environ.get("PGPORT", "5432"))
    base = found.get("dbname") or os.environ.get("PGDATABASE", "the default database")
    return f"{base} at {hosts}"


def _list_passwords(address: str) -> list[str]:
    """What in the address may be a password, however it is written, longest first."""
    login = address.rpartition("@")[0].partition("://")[2] or address.rpartition("@")[0]
    found = [login.partition(":")[2], *re.findall(r"(?i)password\s*=\s*'([^']+)'", address)]
    found += re.findall(r"(?i)password\s*=\s*([^'\s&]\S*)", address)
    pieces = [piece for each in found for piece in (each, unquote(each), *re.split("[/?#]", each))]
    return sorted({address, *pieces} - {""}, key=len, reverse=True)


class PostgresDestination:
    """See `Destination`."""

    def __init__(self, sink: PostgresSink, target: str) -> None:
        self._sink = sink
        self._target = target
        self._connection: psycopg.Connection[Any] | None = None
        refuse_own_name(target, sink.table)
        with self._translated("Connecting to"):
            self._connect()
            try:
                names = [*sink.table.split("."), *sink.key]
                refuse_long(target, names, bytes_max=self._longest_name())
            except BaseException:
                self.close()
                raise

    def _longest_name(self) -> int:
        """In bytes: servers can be built with another length."""
        with self.watched() as connection:
            found = connection.execute("SHOW max_identifier_length").fetchone()
        return int(found[0]) if found else _NAME_BYTES_MAX

    def prepare(self, schema: pa.Schema) -> None:
        from psycopg import sql

        with self._translated("Preparing"):
            refuse_long(self._target, schema.names, bytes_max=self._longest_name())

        columns: list[sql.Composable] = [
            sql.SQL("{} {}").format(sql.Identifier(each.name), sql.SQL(name_type(each.type)))
            for each in schema
        ]
        if self._sink.key:
            columns.append(sql.SQL("PRIMARY KEY ({})").format(_names(self._sink.key)))
        with self._translated("Preparing"), self.watched() as connection:
            if not self._list_columns(connection, self._table):
                connection.execute(
                    sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
                        self._table, sql.SQL(", ").join(columns)
                    )
                )
            if not self._list_columns(connection, self._tokens):
                connection.execute(
                    sql.SQL(
                        "CREATE TABLE IF NOT EXISTS {} (dataset text, target text, batch bigint, "
                        "digest text NOT NULL, outcomes text NOT NULL, "
                        "PRIMARY KEY (dataset, target, batch))"
                    ).format(self._tokens)
                )
            found = self._list_columns(connection, self._table)
        refuse_missing_columns(self._target, schema, found)

    def lookup(self, tokens: Sequence[Token]) -> list[Held]:
        from psycopg import sql

        if not tokens:
            return []
        found: dict[int | None, str] = {}
        with self._translated("Asking"), self.watched() as connection:
            is_there = bool(self._list_columns(connection, self._table))
            if self._list_columns(connection, self._tokens):
                query = sql.SQL(
                    "SELECT batch, digest FROM {} WHERE dataset = %s AND target = %s"
                ).format(self._tokens)
                found = dict(
                    connection.execute(query, (tokens[0].dataset, self._sink.table)).fetchall()
                )
        return compare_tokens(self._target, tokens, found, is_there=is_there)

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: outcomes are kept beside every token."""
        return []

    def publish(self, staged: Staged) -> Published:
        import psycopg

        with self._translated("Publishing to"):
            outcome = self._do_all_but_end(staged)
            if outcome is not Published.COMMITTED:
                self.close()
                return outcome
            try:
                with self.watched() as connection:
                    connection.execute("COMMIT")
            except (psycopg.OperationalError, psycopg.InternalError):
                self.close()
                return Published.UNKNOWN
            return outcome

    def rehearse(self, staged: Staged) -> None:
        with self._translated("Publishing to"):
            self._do_all_but_end(staged)
            with self.watched() as connection:
                connection.execute("ROLLBACK")

    def _do_all_but_end(self, staged: Staged) -> Published:
        """Leaves a transaction open, or closes the connection and raises."""
        try:
            with self.watched() as connection:
                # Whatever the server's default: who was quicker must be seen in the middle of it.
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            return publish_rows(_PostgresTransaction(self, connection), staged, self._target)
        except BaseException:
            # The server rolls back what is not committed when its client is gone.
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def _passwords(self) -> list[str]:
        return _list_passwords(self._sink.read_address())

    @property
    def sink(self) -> PostgresSink:
        return self._sink

    @property
    def _table(self) -> sql.Identifier:
        from psycopg import sql

        return sql.Identifier(*self._sink.table.split("."))

    @property
    def _tokens(self) -> sql.Identifier:
        from psycopg import sql

        return sql.Identifier(*self._sink.table.split(".")[:-1], TOKENS)

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self._sink.read_address(),
                autocommit=True,
                connect_timeout=max(2, round(self._sink.timeout_seconds)),
                application_name="batten",
                client_encoding="UTF8",
            )
            self._connection = connection
            with self.watched():
                # A server that answers before a commit is durable could lose what it confirmed.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') = 'off'"
                )
                # What a client that is gone without a word left open would hold its token.
                connection.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, false), "
                    "set_config('tcp_keepalives_idle', %s, false)",
                    (
                        str(round(1000 * self._sink.timeout_seconds / 2)),
                        str(max(1, round(self._sink.timeout_seconds))),
                    ),
                )
        return self._connection

    @contextmanager
    def watched(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection, cut off if what is done with it takes longer than the timeout."""
        connection = self._connect()
        with Watchdog(connection.fileno(), self._sink.timeout_seconds):
            yield connection

    def _list_columns(
        self, connection: psycopg.Connection[Any], table: sql.Identifier
    ) -> list[str]:
        query = (
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) "
            "AND attnum > 0 AND NOT attisdropped"
        )
        found = connection.execute(query, (table.as_string(connection),)).fetchall()
        return [name for (name,) in found]

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        import psycopg

        try:
            yield
        except (psycopg.OperationalError, psycopg.InternalError) as error:
            self.close()
            remedy = "Wait until the server answers again"
            raise unreached(
                action, self._target, error, remedy=remedy, hidden=self._passwords()
            ) from error
        except psycopg.Error as error:
            self.close()
            raise refused(action, self._target, error, hidden=self._passwords()) from error


class _PostgresTransaction:
    """A claim waits for another transaction that has made the same one, until that has ended."""

    def __init__(
        self, destination: PostgresDestination, connection: psycopg.Connection[Any]
    ) -> None:
        self._destination = destination
        self._sink = destination.sink
        self._connection = connection
        self._table = destination._table
        self._tokens = destination._tokens

    def find(self, token: Token) -> Claim | None:
        from psycopg import sql

        with self._destination.watched():
            found = self._connection.execute(
                sql.SQL(
                    "SELECT digest, outcomes FROM {} "
                    "WHERE dataset = %s AND target = %s AND batch = %s"
                ).format(self._tokens),
                (token.dataset, self._sink.table, token.batch),
            ).fetchone()
        return Claim(digest=found[0], outcomes=found[1]) if found is not None else None

    def claim(self, staged: Staged, had: Claim | None) -> bool:
        from psycopg import sql

        token = staged.token
        content: tuple[object, ...] = (token.digest, staged.outcomes)
        name = (token.dataset, self._sink.table, token.batch)
        if had is None:
            query = _PUT_TOKEN
            values = (*content, *name)
        else:
            query = _RENEW_TOKEN
            values = (*content, *name, had.digest)
        with self._destination.watched():
            made = self._connection.execute(sql.SQL(query).format(self._tokens), values)
        return bool(made.rowcount)

    def attempt(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Exception | None:
        import psycopg

        self._do(f"SAVEPOINT {_ATTEMPT}")
        try:
            self._insert(schema, rows)
        except psycopg.Error as error:
            if not _is_of_rows(error):
                raise
            self._do(f"ROLLBACK TO SAVEPOINT {_ATTEMPT}; RELEASE SAVEPOINT {_ATTEMPT}")
            return error
        self._do(f"RELEASE SAVEPOINT {_ATTEMPT}")
        return None

    def _do(self, command: LiteralString) -> None:
        with self._destination.watched():
            self._connection.execute(command)

    def _insert(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> None:
        from psycopg import sql

        names = _names(schema.names)
        if not self._sink.key:
            self._copy(self._table, names, rows)
            return
        given = sql.Identifier("batten_given")
        with self._destination.watched():
            self._connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0"
                ).format(given, names, self._table)
            )
        self._copy(given, names, rows)
        changed = [name for name in schema.names if name not in self._sink.key]
        action: sql.Composable = sql.SQL("NOTHING")
        if changed:
            action = sql.SQL("UPDATE SET {}").format(
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changed
                )
            )
        with self._destination.watched():
            self._connection.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT ({}) DO {}").format(
                    self._table, names, names, given, _names(self._sink.key), action
                )
            )
            self._connection.execute(sql.SQL("DROP TABLE {}").format(given))

    def _copy(
        self, table: sql.Identifier, names: sql.Composable, rows: Iterable[pa.RecordBatch]
    ) -> None:
        from psycopg import sql

        query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, names)
        given = 0
        cursor = self._connection.cursor()
        with (
            Watchdog(self._connection.fileno(), self._sink.timeout_seconds) as watchdog,
            cursor.copy(query) as copy,
        ):
            for batch in rows:
                given += batch.num_rows
                data = memoryview(encode_copy(batch))
                for start in range(0, len(data), _PIECE_BYTES):
                    copy.write(data[start : start + _PIECE_BYTES])
                    watchdog.touch()
        # A trigger can drop rows, and older servers take a line of `\.` in a text for the end.
        if cursor.rowcount != given:
            raise RefusedError(
                f"The server took {cursor.rowcount} of {given} rows of a batch.",
                safe="Nothing of this batch is there; every batch is kept in the ledger.",
                next="Look for a trigger that drops rows; or write to another table.",
            )


def _is_of_rows(error: psycopg.Error) -> bool:
    """Whether it comes of the values of rows, and not of the table or the connection."""
    state = error.sqlstate or ""
    return state[:2] in _ROW_CLASSES or state in _ROW_STATES


def _names(names: Sequence[str]) -> sql.Composable:
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, names))
