"""Destinations to publish to, each the real thing, behind one face."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import deltalake
import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from batten.crashlab.kept_templates import ForkedCommands
from batten.crashlab.servers.postgres import Server
from batten.crashlab.servers.relay import Relay
from batten.crashlab.staging import SCHEMA
from batten.crashlab.tracing.laboratory import CommandEnd
from batten.pipeline.pipeline import Pipeline
from batten.sinks.base import Destination, Sink
from batten.sinks.databases.postgres import PostgresSink
from batten.sinks.databases.sqlite import SqliteSink
from batten.sinks.lakes.delta.sink import DeltaSink
from batten.sinks.lakes.iceberg.sink import IcebergSink
from batten.testing import open_sink

Row = dict[str, Any]


_opened: list[Any] = []
_ARROW = ("pyarrow.compute", "pyarrow.csv")
_LIBRARIES = {
    "delta": (*_ARROW, "pandas", "batten.sinks.lakes.delta.sink", "deltalake"),
    "iceberg": (
        *_ARROW,
        "pandas",
        "batten.sinks.lakes.iceberg.sink",
        "pyiceberg.catalog.sql",
        "pyiceberg.io.pyarrow",
    ),
    "postgres": (*_ARROW, "psycopg"),
}


@pytest.fixture(autouse=True)
def close_all() -> Iterator[None]:
    """A connection that is left to the collector may hold a lock, and from Python 3.13 on warns."""
    yield
    while _opened:
        _opened.pop().close()


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A table of its own to publish to. `call` is what a job file says; `read` gives the rows by
    key; `drop` drops the table, `make` makes it with columns of its own, `insert` gives it a row,
    as another program would, `append` some; `forget` deletes tokens that stayed though the table is
    gone; `lose_outcomes` takes what is kept beside tokens away, as where an older batten put them.
    """

    kind: str
    folder: Path
    sink: Sink
    call: str
    read: Callable[[], list[Row]]
    drop: Callable[[], None]
    make: Callable[[str], None]
    insert: Callable[[int, str], None] = lambda key, name: None
    append: Callable[[list[Row]], None] = lambda rows: None
    forget: Callable[[], None] = lambda: None
    lose_outcomes: Callable[[], None] = lambda: None
    address: str = ""
    ask: Callable[[str], list[Row]] = lambda query: []
    folders: Sequence[Path] = field(default_factory=list)

    def with_table(self, table: str) -> Lab:
        assert isinstance(self.sink, PostgresSink)
        return replace(self, sink=replace(self.sink, table=table))

    def write(self, pipeline: Pipeline, **options: Any) -> Pipeline:
        """The pipeline with this as its next sink."""
        method, _, given = self.call.removeprefix(".").partition("(")
        names = {"made": pipeline, "options": options}
        written: Pipeline = eval(f"made.{method}({given[:-1]}, **options)", names)
        return replace(written, output=self.folder / str(written.written_output))

    def make_strict(self, *more: str) -> str | None:
        """Make a table that does not hold each name, with `more` columns of text. Gives a name that
        it can't hold."""
        if self.kind == "postgres":
            return "a\0b"
        if self.kind == "sqlite":
            columns = ["key bigint", "name text CHECK (name <> 'bad')", *more]
            self.make(", ".join(columns))
            return "bad"
        fields = [SCHEMA.field("key"), pa.field("name", pa.string(), nullable=False)]
        strict = pa.schema([*fields, *(pa.field(each, pa.string()) for each in more)])
        if self.kind == "delta":
            made = deltalake.Schema.from_arrow(strict)
            deltalake.DeltaTable.create(self.folder / "table", schema=made)
        else:
            assert isinstance(self.sink, IcebergSink)
            opened = load_catalog("default", **self.sink.properties)
            opened.create_namespace_if_not_exists("lab")
            opened.create_table("lab.rows", strict)
            opened.close()
        return None

    def command(self, *words: str) -> CommandEnd:
        """Run batten in the folder, forked from what has imported the library of this table."""
        batten = str(Path(sys.executable).with_name("batten"))
        return ForkedCommands(_LIBRARIES.get(self.kind, _ARROW)).run([batten, *words], self.folder)

    def open(self) -> Destination:
        destination: Destination = self.keep(open_sink(self.sink, self.folder))
        return destination

    def keep(self, opened: Any) -> Any:
        """It is closed when the test has ended."""
        _opened.append(opened)
        return opened


def _inserting(ask: Callable[[str], Any]) -> Callable[[list[Row]], None]:
    def append(rows: list[Row]) -> None:
        for row in rows:
            ask(f"INSERT INTO rows (key, name) VALUES ('{row['key']}', '{row['name']}')")

    return append


def _sqlite(folder: Path) -> Lab:
    path = folder / "base.db"

    def ask(query: str) -> list[Row]:
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                return [dict(row) for row in connection.execute(query)]
        finally:
            connection.close()

    def read() -> list[Row]:
        try:
            return ask("SELECT * FROM rows ORDER BY key, name")
        except sqlite3.OperationalError:
            return []

    return Lab(
        kind="sqlite",
        folder=folder,
        ask=ask,
        sink=SqliteSink(path=path, table="rows"),
        call=f'.write_sqlite("{path}", "rows", ledger="rows")',
        read=read,
        drop=lambda: ask("DROP TABLE rows") and None,
        make=lambda columns: ask(f"CREATE TABLE rows ({columns})") and None,
        insert=lambda key, name: (
            ask(f"INSERT INTO rows (key, name) VALUES ({key}, '{name}')") and None
        ),
        append=_inserting(ask),
        forget=lambda: ask("DELETE FROM batten_tokens") and None,
        folders=[path, path.with_name("base.db-journal")],
    )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server(is_synced=False) as made:
        yield made


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    with Relay(server.port) as made:
        yield made


_bases = count(1)


def _postgres(folder: Path, server: Server) -> Lab:
    """A database of its own."""
    base = f"base{next(_bases)}"
    server.ask(f"CREATE DATABASE {base}")

    def ask(query: str) -> list[Row]:
        return server.ask(query, base=base)

    def read() -> list[Row]:
        try:
            return ask("SELECT * FROM rows ORDER BY key, name")
        except psycopg.errors.UndefinedTable:
            return []

    return Lab(
        kind="postgres",
        address=server.address(base=base),
        ask=ask,
        folder=folder,
        sink=PostgresSink(address=server.address(base=base), table="rows", timeout_seconds=20),
        call=f'.write_postgres("{server.address(base=base)}", "rows")',
        read=read,
        drop=lambda: ask("DROP TABLE rows") and None,
        make=lambda columns: ask(f"CREATE TABLE rows ({columns})") and None,
        insert=lambda key, name: (
            ask(f"INSERT INTO rows (key, name) VALUES ({key}, '{name}')") and None
        ),
        append=_inserting(ask),
        forget=lambda: ask("DELETE FROM batten_tokens") and None,
    )


def _delta(folder: Path) -> Lab:
    path = folder / "table"

    def read() -> list[Row]:
        if not any((path / "_delta_log").glob("*.json")):
            return []
        rows: list[Row] = deltalake.DeltaTable(path).to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: (row["key"], str(row.get("name"))))

    def make(columns: str) -> None:
        names = [column.split()[0] for column in columns.split(",")]
        schema = pa.schema([SCHEMA.field(name) for name in names])
        deltalake.DeltaTable.create(path, schema=deltalake.Schema.from_arrow(schema))

    def lose_outcomes() -> None:
        for entry in (path / "_delta_log").glob("*.json"):
            lines = entry.read_text().splitlines(keepends=True)
            kept = [line for line in lines if not re.search(r'"batten:\w+:\d+:\w+"', line)]
            entry.write_text("".join(kept))

    return Lab(
        kind="delta",
        folder=folder,
        sink=DeltaSink(path=path),
        call=f'.write_delta("{path}", ledger="rows")',
        read=read,
        drop=lambda: shutil.rmtree(path),
        lose_outcomes=lose_outcomes,
        make=make,
        append=lambda rows: deltalake.write_deltalake(
            path, pa.Table.from_pylist(rows), mode="append"
        ),
        folders=[path],
    )


def _iceberg(folder: Path) -> Lab:
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalogue.db",
        "warehouse": f"file://{folder}/warehouse",
    }

    def ask(use: Callable[[Catalog], Any]) -> Any:
        opened = load_catalog("default", **catalog)
        try:
            return use(opened)
        finally:
            opened.close()

    def read() -> list[Row]:
        def use(opened: Catalog) -> list[Row]:
            if not opened.table_exists("lab.rows"):
                return []
            rows: list[Row] = opened.load_table("lab.rows").scan().to_arrow().to_pylist()
            return sorted(rows, key=lambda row: (row["key"], str(row.get("name"))))

        found: list[Row] = ask(use)
        return found

    def make(columns: str) -> None:
        names = [column.split()[0] for column in columns.split(",")]
        schema = pa.schema([SCHEMA.field(name) for name in names])

        def use(opened: Catalog) -> None:
            opened.create_namespace_if_not_exists("lab")
            opened.create_table("lab.rows", schema)

        ask(use)

    def append(rows: list[Row]) -> None:
        def use(opened: Catalog) -> None:
            table = opened.load_table("lab.rows")
            table.append(pa.Table.from_pylist(rows).cast(table.schema().as_arrow()))

        ask(use)

    def lose_outcomes() -> None:
        def use(opened: Catalog) -> None:
            table = opened.load_table("lab.rows")
            kept = [name for name in table.properties if name.endswith(".outcomes")]
            with table.transaction() as change:
                change.remove_properties(*kept)

        ask(use)

    return Lab(
        kind="iceberg",
        folder=folder,
        sink=IcebergSink(table="lab.rows", catalog="default", properties=catalog),
        call=f'.write_iceberg("lab.rows", catalog={catalog!r}, ledger="rows")',
        read=read,
        drop=lambda: ask(lambda opened: opened.drop_table("lab.rows")),
        lose_outcomes=lose_outcomes,
        make=make,
        append=append,
        folders=[folder],
    )


LABS: dict[str, Callable[..., Lab]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "delta": _delta,
    "iceberg": _iceberg,
}


MakeLab = Callable[[Path], Lab]


@pytest.fixture
def make_lab(request: pytest.FixtureRequest) -> MakeLab:
    """Makes one of the kind that is the parameter, in a folder."""
    needs = ("server",) if request.param == "postgres" else ()
    given = [request.getfixturevalue(name) for name in needs]
    return lambda folder: LABS[request.param](folder, *given)


@pytest.fixture
def lab(make_lab: MakeLab, tmp_path: Path) -> Lab:
    folder = tmp_path / "lab"
    folder.mkdir()
    return make_lab(folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every kind, where a test does not choose."""
    marks = metafunc.definition.iter_markers("parametrize")
    is_told = any(mark.args[0] == "make_lab" for mark in marks)
    if "make_lab" in metafunc.fixturenames and not is_told:
        metafunc.parametrize("make_lab", list(LABS), indirect=True)
