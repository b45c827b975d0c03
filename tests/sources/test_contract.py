"""What every source promises: the same scan each time, and any part of the plan read anywhere."""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.chain.source import DatasetSource
from batten.sources.base import SCAN_BLOCK_ITEMS, Source
from batten.sources.files.files import FileSource
from batten.sources.items import ItemSource
from batten.sources.range import RangeSource
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource
from batten.sources.records.parquet import ParquetSource
from batten.testing import SourceContract

COUNT = SCAN_BLOCK_ITEMS + 57
ROWS = [{"id": f"clip {i}", "text": f'{i},"é\n{i}"'} for i in range(COUNT)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows in each kind of file, and some files."""
    folder = tmp_path_factory.mktemp("contract")
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in ROWS)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    (folder / "rows").mkdir()
    for number, start in enumerate(range(0, COUNT, 3000)):
        table = pa.Table.from_pylist(ROWS[start : start + 3000])
        pq.write_table(table, folder / "rows" / f"{number}.parquet", row_group_size=700)
    for number in range(300):
        path = folder / "clips" / f"{number % 7}" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = batten.from_items(ROWS, key="id").map(_copy).options(batch_size=2500)
    rows.write_parquet(folder / "dataset").run(executor="serial")
    return folder


def _copy(row: dict[str, str]) -> dict[str, str]:
    return dict(row)


MAKERS: dict[str, Callable[[Path], Source]] = {
    "range": lambda folder: RangeSource(COUNT),
    "list": lambda folder: ItemSource(ROWS),
    "list-keyed": lambda folder: ItemSource(ROWS, key="id"),
    "callable": lambda folder: ItemSource(lambda: (row for row in ROWS)),
    "callable-keyed": lambda folder: ItemSource(lambda: iter(ROWS), key=lambda row: row["id"]),
    "files": lambda folder: FileSource("clips/**/*.mp4", folder=folder),
    "jsonl": lambda folder: JsonLinesSource("rows.jsonl", folder=folder),
    "jsonl-keyed": lambda folder: JsonLinesSource("rows.jsonl", key="id", folder=folder),
    "csv": lambda folder: CsvSource("rows.csv", folder=folder),
    "csv-keyed": lambda folder: CsvSource("rows.csv", key="id", folder=folder),
    "parquet": lambda folder: ParquetSource("rows", folder=folder),
    "parquet-keyed": lambda folder: ParquetSource("rows", key="id", folder=folder),
    "dataset": lambda folder: DatasetSource("dataset", columns=["id", "text"], folder=folder),
    "dataset-keyed": lambda folder: DatasetSource(
        "dataset", key="text", columns=["id", "text"], folder=folder
    ),
}


class TestSources(SourceContract):
    @pytest.fixture(autouse=True, params=MAKERS)
    def choose(self, request: pytest.FixtureRequest, seeded: random.Random) -> None:
        self._make = MAKERS[request.param]
        self.seed = seeded.getrandbits(32)

    @pytest.fixture
    def folder(self, files: Path) -> Path:
        return files

    def make_source(self, folder: Path) -> Source:
        return self._make(folder)

    def expected_items(self, folder: Path) -> list[Any]:
        source = self._make(folder)
        if isinstance(source, RangeSource):
            return list(range(COUNT))
        if isinstance(source, FileSource):
            return sorted((folder / "clips").rglob("*.mp4"), key=os.fsencode)
        return ROWS


def test_different_sources_have_different_identities(files: Path) -> None:
    identities = [str(make(files).identity) for name, make in MAKERS.items() if name != "callable"]
    assert len(set(identities)) == len(identities)
