"""What every source promises: the same scan each time, and any part of the plan read anywhere."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.sources.base import SCAN_BLOCK_ITEMS, Source
from batten.sources.files import FileSource
from batten.sources.items import ItemSource
from batten.sources.range import RangeSource
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource
from batten.sources.records.parquet import ParquetSource

COUNT = SCAN_BLOCK_ITEMS + 57
ROWS = [{"id": f"clip {i}", "text": f'{i},"é\n{i}"'} for i in range(COUNT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    return folder


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
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest, folder: Path) -> Callable[..., Source]:
    return lambda root=folder: MAKERS[request.param](root)


def expected_items(source: Source, folder: Path) -> list[Any]:
    if isinstance(source, RangeSource):
        return list(range(COUNT))
    if isinstance(source, FileSource):
        return sorted((folder / "clips").rglob("*.mp4"), key=os.fsencode)
    return ROWS


def test_all_items_are_there_in_order(make: Any, folder: Path, sources: Any) -> None:
    source = make()
    assert sources.read(source) == expected_items(source, folder)


def test_a_second_scan_is_like_the_first(make: Any, sources: Any) -> None:
    source = make()
    assert sources.plan(source) == sources.plan(source) == sources.plan(make())


def test_keys_are_there_when_it_is_keyed(make: Any, sources: Any) -> None:
    source = make()
    plan = sources.plan(source)
    assert source.is_keyed == (plan.keys is not None)
    assert len(set(plan.keys or [])) == len(plan.keys or [])


def test_a_count_known_beforehand_is_that_of_the_scan(make: Any, sources: Any) -> None:
    source = make()
    plan = sources.plan(source)
    known = source.count_items()
    assert known in (None, plan.count)
    if known is not None:
        assert plan.keys is plan.positions is plan.payloads is None


def test_blocks_are_bounded(make: Any, sources: Any) -> None:
    plan = sources.plan(make())
    assert max(plan.block_counts) <= SCAN_BLOCK_ITEMS
    assert len(plan.block_counts) <= 4


def test_any_range_reads_like_the_whole(make: Any, sources: Any, seeded: random.Random) -> None:
    source = make()
    plan = sources.plan(source)
    whole = sources.read_range(source.open(), plan)
    reader = source.open()
    for _ in range(25):
        start = seeded.randrange(plan.count)
        stop = min(plan.count, start + seeded.choice([1, 2, 50, 900]))
        assert sources.read_range(reader, plan, start, stop) == whole[start:stop]


def test_a_read_may_be_given_up(make: Any, sources: Any) -> None:
    source = make()
    plan = sources.plan(source)
    reader = source.open()
    first = next(iter(reader.read(plan.wanted(10, 20))))
    assert sources.read_range(reader, plan, 10, 11) == sources.show([first])
    assert sources.read_range(reader, plan, 11, 13) == sources.read(source)[11:13]


def test_a_forked_worker_elsewhere_reads_the_same(
    make: Any, sources: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    source = make(Path())
    plan = sources.plan(source)
    expected = sources.read_range(source.open(), plan, 100, 250)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        os.chdir(tmp_path)
        sender.send(sources.read_range(source.open(), plan, 100, 250))

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    sender.close()
    assert receiver.recv() == expected
    receiver.close()
    worker.join()


def test_the_folder_is_not_part_of_the_identity(make: Any, folder: Path) -> None:
    identity = make().identity
    assert str(folder) not in str(identity)
    assert all(isinstance(value, str) for value in identity.values())
    assert set(identity) >= {"source"}


def test_different_sources_have_different_identities(folder: Path) -> None:
    identities = [str(make(folder).identity) for name, make in MAKERS.items() if name != "callable"]
    assert len(set(identities)) == len(identities)
