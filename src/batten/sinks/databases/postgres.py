"""A table of a PostgreSQL database: each batch by COPY, in one transaction with its token.

A connection that hangs is cut off by a watchdog of this side: a server that is stopped answers
nothing, not even that a statement took too long. Whether a commit of which no answer came happened
is then asked on a new connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from batten.errors import usage_error
from batten.fingerprint.secret import Secret
from batten.model.disk.destinations.targets import show_base, show_table
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.value_class import value_class
from batten.optional import ensure_optional
from batten.sinks.base import LedgerPlace, Staged, TableSink
from batten.sinks.databases.copying import name_type
from batten.sinks.databases.postgres_rows import (
    PostgresTransaction,
    identify_table,
    identify_tokens,
    name_columns,
)
from batten.sinks.databases.tables import (
    compare_tokens,
    publish_rows,
    refuse_missing_columns,
    replace_rows,
)
from batten.sinks.databases.watchdog import Watchdog, advise_waiting
from batten.sinks.failures import refused, unreached
from batten.sinks.named import refuse_long, refuse_own_name
from batten.sinks.rows.replacing import is_bare, schema_with, stage_with
from batten.storage.addresses import refuse_other_database

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

_PROBES = 6
"""So many questions of TCP go unanswered before a client counts as gone."""

_NAME_BYTES_MAX = 63

_TOKEN_COLUMNS = (
    "dataset text, target text, batch bigint, digest text NOT NULL, outcomes text NOT NULL, "
    "PRIMARY KEY (dataset, target, batch)"
)


@value_class
class PostgresSink(TableSink):
    """`table` (`schema.table`) of the database that `address` names, a URI or a connection string;
    what it leaves out comes from the environment, as libpq says. `timeout_seconds` is the longest
    that one step may take: connecting, a piece of a batch, a commit."""

    address: str | Secret = field(repr=False)
    table: str
    timeout_seconds: float = 60.0
    kind: ClassVar[str] = "postgres"

    def fill(self, fill: Callable[[str], str]) -> PostgresSink:
        return replace(
            self, table=fill(self.table), dataset=fill(self.dataset), where=self.fill_where(fill)
        )

    def describe(self, folder: Path) -> str:
        return show_table(self.table, name_place(self.read_address()))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return (self.address.name,) if isinstance(self.address, Secret) else ()

    def read_address(self) -> str:
        """The address itself, with what is secret in it: to connect, and never to be shown."""
        address = self.address() if isinstance(self.address, Secret) else self.address
        refuse_other_database(address)
        return address

    def identify(self) -> str:
        return self.describe(Path())

    def check(self) -> None:
        ensure_optional("psycopg", ".write_postgres()", package="'psycopg[binary]'")

    def open(self, ground: LedgerPlace) -> PostgresDestination:
        return PostgresDestination(self, ground.book.target)


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
        with self._watched() as connection:
            found = connection.execute("SHOW max_identifier_length").fetchone()
        return int(found[0]) if found else _NAME_BYTES_MAX

    def prepare(self, schema: pa.Schema) -> None:
        from psycopg import sql

        schema = schema_with(schema, self._sink.where)
        with self._translated("Preparing"):
            refuse_long(self._target, schema.names, bytes_max=self._longest_name())

        columns: list[sql.Composable] = [
            sql.SQL("{} {}").format(sql.Identifier(each.name), sql.SQL(name_type(each.type)))
            for each in schema
        ]
        if self._sink.key:
            columns.append(sql.SQL("PRIMARY KEY ({})").format(name_columns(self._sink.key)))
        with self._translated("Preparing"), self._watched() as connection:
            self._make_table(connection, self._table, sql.SQL(", ").join(columns))
            self._make_table(connection, self._tokens, sql.SQL(_TOKEN_COLUMNS))
            found = self._list_columns(connection, self._table)
        if self._sink.replaces and is_bare(found, schema, self._sink.where):
            self.add_columns(schema)
            return
        refuse_missing_columns(self._target, schema, found)

    def _make_table(
        self, connection: psycopg.Connection[Any], table: sql.Identifier, columns: sql.Composable
    ) -> None:
        """Where it is not there. Two may do that at once. Then the server refuses the later one,
        `IF NOT EXISTS` or not, and the table of the other is there."""
        from psycopg import errors, sql

        if self._list_columns(connection, table):
            return
        query = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(table, columns)
        try:
            connection.execute(query)
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
            if not self._list_columns(connection, table):
                raise

    def add_columns(self, schema: pa.Schema) -> None:
        from psycopg import sql

        with self._translated("Preparing"):
            refuse_long(self._target, schema.names, bytes_max=self._longest_name())
        with self._translated("Preparing"), self._watched() as connection:
            found = self._list_columns(connection, self._table)
            for each in schema if found else ():
                if each.name not in found:
                    connection.execute(
                        sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                            self._table, sql.Identifier(each.name), sql.SQL(name_type(each.type))
                        )
                    )

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        from psycopg import sql

        if not tokens:
            return []
        found: dict[int | None, str] = {}
        with self._translated("Asking"), self._watched() as connection:
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

    def publish(self, staged: Staged) -> PublishEnd:
        import psycopg

        with self._translated("Publishing to"):
            outcome = self._do_all_but_end(staged)
            if outcome is not PublishEnd.COMMITTED:
                self.close()
                return outcome
            try:
                with self._watched() as connection:
                    connection.execute("COMMIT")
            except (psycopg.OperationalError, psycopg.InternalError, TimeoutError):
                self.close()
                return PublishEnd.UNKNOWN
            return outcome

    def rehearse(self, staged: Staged) -> None:
        with self._translated("Publishing to"):
            self._do_all_but_end(staged)
            with self._watched() as connection:
                connection.execute("ROLLBACK")

    def _do_all_but_end(self, staged: Staged) -> PublishEnd:
        """Leaves a transaction open, or closes the connection and raises."""
        try:
            with self._watched() as connection:
                # Whatever the server's default is, this must see in the middle who was quicker.
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            transaction = PostgresTransaction(
                connection,
                table=self._sink.table,
                key=self._sink.key,
                timeout_seconds=self._sink.timeout_seconds,
            )
            staged, sink = stage_with(staged, self._sink.where, self._target), self._sink
            if sink.replaces:
                return replace_rows(transaction, staged, self._target, sink.where)
            return publish_rows(transaction, staged, self._target, is_keyed=bool(sink.key))
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
        return list_passwords(self._sink.read_address())

    @property
    def _table(self) -> sql.Identifier:
        return identify_table(self._sink.table)

    @property
    def _tokens(self) -> sql.Identifier:
        return identify_tokens(self._sink.table)

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
            with self._watched():
                # A server that answers before a commit is durable could lose what it confirmed.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') = 'off'"
                )
                # A client may vanish without a word: its open transaction would hold the token. One
                # that is idle within a COPY has no timeout, so there TCP asks whether it lives.
                seconds = self._sink.timeout_seconds / 2
                connection.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, false), "
                    "set_config('tcp_keepalives_idle', %s, false), "
                    "set_config('tcp_keepalives_interval', %s, false), "
                    "set_config('tcp_keepalives_count', %s, false)",
                    (
                        str(round(1000 * seconds)),
                        str(max(1, round(seconds / 2))),
                        str(max(1, round(seconds / 2 / _PROBES))),
                        str(_PROBES),
                    ),
                )
        return self._connection

    @contextmanager
    def _watched(self) -> Iterator[psycopg.Connection[Any]]:
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
        except (psycopg.OperationalError, psycopg.InternalError, TimeoutError) as error:
            self.close()
            remedy = advise_waiting("server", error)
            raise unreached(
                action, self._target, error, remedy=remedy, hidden=self._passwords()
            ) from error
        except psycopg.Error as error:
            self.close()
            raise refused(action, self._target, error, hidden=self._passwords()) from error


def name_place(address: str) -> str:
    """The database and where it is, without user and password."""
    hosts = ""
    if "://" in address:
        scheme, _, rest = address.partition("://")
        try:
            # A password may hold a character that elsewhere ends the host.
            parts = urlsplit(f"{scheme}://{rest.rpartition('@')[2]}")
        except ValueError:
            raise usage_error(
                "The address of a PostgreSQL server can't be read.",
                "Give it like this: postgresql://user@host:5432/base",
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
    return show_base(base, hosts)


def list_passwords(address: str) -> list[str]:
    """What in the address may be a password, however it is written, longest first."""
    login = address.rpartition("@")[0].partition("://")[2] or address.rpartition("@")[0]
    found = [login.partition(":")[2], *re.findall(r"(?i)password\s*=\s*'([^']+)'", address)]
    found += re.findall(r"(?i)password\s*=\s*([^'\s&]\S*)", address)
    pieces = [piece for each in found for piece in (each, unquote(each), *re.split("[/?#]", each))]
    return sorted({address, *pieces} - {""}, key=len, reverse=True)
