"""Asks a server what it has of the batches that it was given: `batten verify --ask`.

The address is the recorded one, which has no secrets. User and password come from the environment
or a password file, as libpq says (`PGUSER`, `PGPASSWORD`, `PGPASSFILE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from batten.errors import StorageError
from batten.lookup.look_at_plugin import look_at_plugin
from batten.lookup.telling_lacks import (
    CannotLookError,
    as_counted,
    tell_batches,
    tell_gone,
    tell_rows,
)
from batten.model.disk.destinations.delivery import CAN_NOT_BE_ASKED, Delivery
from batten.model.rules.findings import Code, Finding
from batten.model.telling.commands import command
from batten.optional import ensure_optional
from batten.sinks.databases.tables import TOKENS

SECONDS_MAX = 60


TellMissing = Callable[[Callable[[str], list[Any]]], str]
"""Names the keys that are lacking, where the values of a column can be read."""


def ask_server(
    given: Delivery, *, place: str, path: str, tell_missing: TellMissing, is_closed: bool
) -> list[Finding]:
    """What the server of a table of PostgreSQL lacks, a topic of Kafka, or one that a package knows
    to ask; of another, that batten can't ask it. Raises `StorageError` where it does not answer,
    and `UsageError` where its library is missing. `place` is the folder of the output; `path` is
    shown in messages. `is_closed`: the dataset's accounts are."""
    given = as_counted(given, is_closed=is_closed)
    if not given.rows:
        return []  # What was given no rows lacks none. It may not have been made yet.
    if not given.can_be_asked:
        return [_found(Code.NOT_LOOKED_AT, given, CAN_NOT_BE_ASKED)]
    if given.package:
        return _ask_by_package(given, place)
    if given.kind == "kafka":
        return list(_ask_topic(given))
    if given.kind != "postgres":
        evidence = "can't be asked: batten asks PostgreSQL and Kafka; a run of the job asks it"
        return [_found(Code.NOT_LOOKED_AT, given, evidence)]
    ensure_optional("psycopg", "--ask", package="'psycopg[binary]'")
    import psycopg

    where = given.where
    try:
        with psycopg.connect(
            **_address(where.base, where.server),
            connect_timeout=SECONDS_MAX,
            options=f"-c statement_timeout={1000 * SECONDS_MAX}",
            application_name="batten",
        ) as connection:
            connection.read_only = True
            return list(_compare(connection, where.table, given, tell_missing))
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        raise StorageError(
            f"{given.target} can't be asked: {reason}.",
            safe="Nothing was changed, and nothing is known of it.",
            next="See that the server answers, and that PGUSER and PGPASSWORD (or a password file) "
            f"are right; all else is verified without it: {command('verify', path)}",
        ) from error


def _ask_by_package(given: Delivery, place: str) -> list[Finding]:
    try:
        found = list(look_at_plugin(place, given))
    except CannotLookError as error:
        found = [(Code.NOT_LOOKED_AT, f"can't be asked: {error}")]
    return [_found(code, given, evidence) for code, evidence, *_ in found]


def _ask_topic(given: Delivery) -> Iterator[Finding]:
    ensure_optional("confluent_kafka", "--ask", package="'batten[kafka]'")
    from batten.sinks.kafka.asking import ask_topic

    held, told = ask_topic(given, SECONDS_MAX)
    if told:
        yield _found(Code.LOST_TABLE, given, f"the topic is not the one that it was: {told[0]}")
    elif (lacking := tell_batches(held, given)) is not None:
        yield _found(lacking[0], given, lacking[1])


def _address(base: str, hosts: str) -> dict[str, Any]:
    pairs = [each.rpartition(":") for each in hosts.split(",")]
    found = {
        "host": ",".join(host or port for host, _, port in pairs),
        "port": ",".join(port if host else "5432" for host, _, port in pairs),
    }
    return found if base == "the default database" else {**found, "dbname": base}


def _compare(
    connection: Any, table: str, given: Delivery, tell_missing: TellMissing
) -> Iterator[Finding]:
    from psycopg import sql

    *schema, name = table.split(".")

    def has(which: sql.Identifier) -> bool:
        query = "SELECT to_regclass(%s) IS NOT NULL"
        return bool(connection.execute(query, (which.as_string(connection),)).fetchone()[0])

    def select(what: sql.Composable) -> sql.Composed:
        """Of the rows that are its own."""
        query = sql.SQL("SELECT {} FROM {}").format(what, rows)
        terms = [sql.SQL("{} = %s").format(sql.Identifier(each)) for each in given.marks]
        return query + sql.SQL(" WHERE ") + sql.SQL(" AND ").join(terms) if terms else query

    values = list(given.marks.values())
    rows, tokens = sql.Identifier(*schema, name), sql.Identifier(*schema, TOKENS)
    held: set[int] = set()
    if has(tokens):
        query = sql.SQL("SELECT batch FROM {} WHERE target = %s AND (dataset = %s OR %s = '')")
        ours = (table, given.dataset, given.dataset)
        held = {batch for (batch,) in connection.execute(query.format(tokens), ours)}
    if not has(rows):
        told = "the table is gone"
        code, told = (Code.LOST_TABLE, told) if held else tell_gone(given, told)
        yield _found(code, given, told)
        return
    lacking = tell_batches(held, given)
    is_counted = given.adds_rows or given.has_own_keys
    if lacking is None and is_counted:
        found = connection.execute(select(sql.SQL("count(*)")), values).fetchone()[0]
        lacking = tell_rows(found, given) if found < given.rows else None
    if lacking is None:
        return

    def read(column: str) -> list[Any]:
        return [key for (key,) in connection.execute(select(sql.Identifier(column)), values)]

    told = tell_missing(read) if is_counted else ""
    yield _found(lacking[0], given, "; ".join(filter(None, (lacking[1], told))))


def _found(code: Code, given: Delivery, evidence: str) -> Finding:
    return Finding(code=code, path=given.target, evidence=evidence, kind=given.shown_as)
