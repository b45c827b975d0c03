"""Every destination with a commit of its own passes the public contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batten.sinks.base import Sink
from batten.sinks.lakes import by_key
from batten.sinks.lakes.delta import files as delta_files
from batten.sinks.lakes.delta.sink import DeltaSink
from batten.sinks.lakes.iceberg import commit as iceberg_commit
from batten.sinks.lakes.iceberg.sink import IcebergSink
from batten.testing import SinkContract

if TYPE_CHECKING:
    from conftest import Lab

LIBRARIES = {"postgres": ["psycopg"], "delta": ["deltalake"], "iceberg": ["pyiceberg"]}


class TestSinks(SinkContract):
    kills_max = 6

    @pytest.fixture(autouse=True)
    def keep_maker(self, make_lab: Callable[[Path], Lab]) -> None:
        self._make_lab = make_lab

    def make_sink(self, folder: Path) -> Sink:
        self._lab = self._make_lab(folder)
        self.libraries = LIBRARIES.get(self._lab.kind, [])
        return self._lab.sink

    def read_rows(self, folder: Path) -> list[dict[str, Any]]:
        return self._lab.read()

    def list_made(self, folder: Path) -> Collection[object]:
        if self._lab.kind == "postgres":
            return self._lab.ask("SELECT FROM pg_tables WHERE tablename = 'rows'")
        return super().list_made(folder)

    def drop(self, folder: Path) -> None:
        self._lab.drop()

    def make_without_name(self, folder: Path) -> None:
        self._lab.make("key bigint")


@pytest.mark.parametrize("make_lab", ["delta", "iceberg"], indirect=True)
class TestFilesByKey(TestSinks):
    """With a key they write other files anew, beside what they add."""

    def make_sink(self, folder: Path) -> Sink:
        sink = super().make_sink(folder)
        assert isinstance(sink, DeltaSink | IcebergSink)
        return replace(sink, key=("key",))

    def list_code(self, sink: Sink) -> Collection[str]:
        return [inspect.getfile(each) for each in (type(sink), by_key, delta_files, iceberg_commit)]
