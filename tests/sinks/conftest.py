"""Destinations to publish to, each the real thing, behind one face."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from batten.model.names import Layout
from batten.sinks.base import Destination, Ground, Sink
from batten.sinks.deliveries import DeliveryBook
from batten.sinks.sqlite import SqliteSink
from batten.storage.local import LocalStorage

Row = dict[str, Any]
LAYOUT = Layout("rows", is_inside=True)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A table of its own to publish to. `call` is what a job file says; `read` gives the rows by
    key; `drop` drops the table, `add` gives it a row of another's, `make` makes it with columns
    of its own."""

    kind: str
    folder: Path
    sink: Sink
    call: str
    read: Callable[[], list[Row]]
    drop: Callable[[], None]
    make: Callable[[str], None]
    folders: Sequence[Path] = field(default_factory=list)

    def open(self) -> Destination:
        storage = LocalStorage(self.folder)
        book = DeliveryBook(
            storage,
            LAYOUT,
            kind=self.kind,
            target=self.sink.describe(self.folder),
            run="run",
            now=lambda: "2026-11-21T08:00:00Z",
        )
        return self.sink.open(Ground(storage=storage, layout=LAYOUT, folder=self.folder, book=book))


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
        sink=SqliteSink(path=path, table="rows"),
        call=f'.write_sqlite("{path}", "rows", ledger="rows")',
        read=read,
        drop=lambda: ask("DROP TABLE rows") and None,
        make=lambda columns: ask(f"CREATE TABLE rows ({columns})") and None,
        folders=[path, path.with_name("base.db-journal")],
    )


LABS: dict[str, Callable[[Path], Lab]] = {"sqlite": _sqlite}


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """The one whose kind is the parameter."""
    folder = tmp_path / "lab"
    folder.mkdir()
    return LABS[request.param](folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" in metafunc.fixturenames:
        metafunc.parametrize("lab", list(LABS), indirect=True)
