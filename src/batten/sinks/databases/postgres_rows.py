"""One transaction of PostgreSQL: rows by COPY, and the token. See `tables`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, LiteralString

from batten.errors import BATCHES_KEPT, RefusedError
from batten.model.disk.destinations.tokens import Token
from batten.sinks.base import Staged
from batten.sinks.databases.copying import encode_copy, has_nanoseconds, refuse_fine
from batten.sinks.databases.tables import TOKENS, EarlierPublication
from batten.sinks.databases.watchdog import Watchdog
from batten.sinks.rows.rejecting import UnstorableError
from batten.sinks.rows.replacing import tell_others

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

_PIECE_BYTES = 1 << 20
_ATTEMPT: Final = "batten_attempt"
_ROW_CLASSES = frozenset({"22", "23", "44"})
"""A value that its type can't hold, a constraint, the condition of a view."""
_ROW_STATES = frozenset({"21000", "54000", "P0001"})
"""Two rows that an index takes for one, a value too large for an index, a trigger that raises."""

_PUT_TOKEN = (
    "INSERT INTO {} (digest, outcomes, dataset, target, batch) "
    "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_RENEW_TOKEN = (
    "UPDATE {} SET digest = %s, outcomes = %s "
    "WHERE dataset = %s AND target = %s AND batch = %s AND digest = %s"
)


def identify_table(table: str) -> sql.Identifier:
    """`schema.table`, or a table of the usual schema."""
    from psycopg import sql

    return sql.Identifier(*table.split("."))


def identify_tokens(table: str) -> sql.Identifier:
    """The table of tokens beside it."""
    from psycopg import sql

    return sql.Identifier(*table.split(".")[:-1], TOKENS)


class PostgresTransaction:
    """It is begun already, and ended by another. A claim waits for another transaction that has
    made the same one, until that has ended."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        *,
        table: str,
        key: Sequence[str],
        timeout_seconds: float,
    ) -> None:
        self._connection = connection
        self._name = table
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._table = identify_table(table)
        self._tokens = identify_tokens(table)

    def _watched(self) -> Watchdog:
        return Watchdog(self._connection.fileno(), self._timeout_seconds)

    def find(self, tokens: Sequence[Token]) -> list[EarlierPublication | None]:
        from psycopg import sql

        batches = [token.batch for token in tokens]
        with self._watched():
            found = self._connection.execute(
                sql.SQL(
                    "SELECT batch, digest, outcomes FROM {} "
                    "WHERE dataset = %s AND target = %s AND batch = ANY(%s)"
                ).format(self._tokens),
                (tokens[0].dataset, self._name, batches),
            ).fetchall()
        held = {
            batch: EarlierPublication(digest=digest, outcomes=outcomes)
            for batch, digest, outcomes in found
        }
        return [held.get(batch) for batch in batches]

    def claim(self, token: Token, outcomes: str, had: EarlierPublication | None) -> bool:
        from psycopg import sql

        values: tuple[object, ...] = (token.digest, outcomes)
        values += (token.dataset, self._name, token.batch)
        query = _PUT_TOKEN
        if had is not None:
            query, values = _RENEW_TOKEN, (*values, had.digest)
        with self._watched():
            made = self._connection.execute(sql.SQL(query).format(self._tokens), values)
        return bool(made.rowcount)

    def hold(self) -> None:
        with self._watched():
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext(%s))", (f"batten {self._name}",)
            )

    def find_others(self, token: Token, *, has_own: bool) -> str:
        from psycopg import sql

        with self._watched():
            others = self._connection.execute(
                sql.SQL(
                    "SELECT dataset FROM {} WHERE target = %s AND dataset <> %s LIMIT 1"
                ).format(self._tokens),
                (self._name, token.dataset),
            ).fetchone()
            is_empty = (
                has_own
                or self._connection.execute(
                    sql.SQL("SELECT FROM {} LIMIT 1").format(self._table)
                ).fetchone()
                is None
            )
        return tell_others(others[0] if others else "", is_empty=is_empty)

    def empty(self, token: Token, where: Mapping[str, str]) -> None:
        from psycopg import sql

        query = sql.SQL("DELETE FROM {}").format(self._table)
        if where:
            terms = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in where]
            query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(terms)
        with self._watched():
            self._connection.execute(query, list(where.values()))
            self._connection.execute(
                sql.SQL("DELETE FROM {} WHERE target = %s AND dataset = %s").format(self._tokens),
                (self._name, token.dataset),
            )

    def clear(self, staged: Staged) -> bool:
        import pyarrow as pa
        from psycopg import sql

        column = staged.schema.names[0]
        if column not in self._key:
            return False
        name, gone = name_columns([column]), sql.Identifier("batten_gone")
        with self._watched():
            self._connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0"
                ).format(gone, name, self._table)
            )
        keys = pa.record_batch([pa.array(staged.load_keys(), pa.string())], names=[column])
        self._copy(gone, name, [keys])
        with self._watched():
            self._connection.execute(
                sql.SQL("DELETE FROM {} WHERE {} IN (SELECT {} FROM {})").format(
                    self._table, name, name, gone
                )
            )
            self._connection.execute(sql.SQL("DROP TABLE {}").format(gone))
        return True

    def attempt(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Exception | None:
        import psycopg

        fine = self._list_fine(schema)
        self._do(f"SAVEPOINT {_ATTEMPT}")
        try:
            self._insert(schema, (refuse_fine(batch, fine) for batch in rows) if fine else rows)
        except (psycopg.Error, UnstorableError) as error:
            if isinstance(error, psycopg.Error) and not _is_of_rows(error):
                raise
            self._do(f"ROLLBACK TO SAVEPOINT {_ATTEMPT}; RELEASE SAVEPOINT {_ATTEMPT}")
            return error
        self._do(f"RELEASE SAVEPOINT {_ATTEMPT}")
        return None

    def _list_fine(self, schema: pa.Schema) -> list[str]:
        """The columns with nanoseconds whose column in the table would round them."""
        from psycopg import sql

        names = [field.name for field in schema if has_nanoseconds(field.type)]
        if not names:
            return []
        query = sql.SQL(
            "SELECT attname FROM pg_attribute WHERE attrelid = {}::regclass AND attname = ANY(%s) "
            "AND atttypid = ANY('{{timestamp,timestamptz,time,timetz,interval}}'::regtype[])"
        ).format(sql.Literal(self._table.as_string(self._connection)))
        with self._watched():
            return [name for (name,) in self._connection.execute(query, (names,)).fetchall()]

    def _do(self, command: LiteralString) -> None:
        with self._watched():
            self._connection.execute(command)

    def _insert(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> None:
        from psycopg import sql

        names = name_columns(schema.names)
        if not self._key:
            self._copy(self._table, names, rows)
            return
        given = sql.Identifier("batten_given")
        with self._watched():
            self._connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0"
                ).format(given, names, self._table)
            )
        self._copy(given, names, rows)
        changed = [name for name in schema.names if name not in self._key]
        action: sql.Composable = sql.SQL("NOTHING")
        if changed:
            action = sql.SQL("UPDATE SET {}").format(
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changed
                )
            )
        with self._watched():
            self._connection.execute(
                # Of rows that share a key the last: the server refuses to replace one twice.
                sql.SQL(
                    "INSERT INTO {table} ({names}) SELECT DISTINCT ON ({key}) {names} FROM {given} "
                    "ORDER BY {key}, ctid DESC ON CONFLICT ({key}) DO {action}"
                ).format(
                    table=self._table,
                    names=names,
                    key=name_columns(self._key),
                    given=given,
                    action=action,
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
            self._watched() as watchdog,
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
                safe=f"Nothing of this batch is there; {BATCHES_KEPT}",
                next="Look for a trigger that drops rows; or write to another table.",
            )


def _is_of_rows(error: psycopg.Error) -> bool:
    """Whether it comes of the values of rows, and not of the table or the connection."""
    state = error.sqlstate or ""
    return state[:2] in _ROW_CLASSES or state in _ROW_STATES


def name_columns(names: Sequence[str]) -> sql.Composable:
    """A list of columns, in quotes."""
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, names))
