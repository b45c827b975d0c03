"""Rows of Parquet files, by number or by a column, over files and row groups of any size."""

from __future__ import annotations

import datetime
import gc
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batten.errors import StorageError, UsageError
from batten.sources.base import SCAN_BLOCK_ITEMS, ItemsWanted
from batten.sources.records.parquet import ParquetSource

ROW = st.fixed_dictionaries(
    {"n": st.none() | st.integers(-(2**63), 2**63 - 1), "tags": st.lists(st.text(), max_size=2)}
)
SCHEMA = pa.schema([("n", pa.int64()), ("tags", pa.list_(pa.string()))])


def write(path: Path, rows: list[dict[str, Any]], *, group: int = 1000, schema: Any = None) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=group)


@given(files=st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=4), data=st.data())
def test_any_rows_are_read_back(
    files: list[list[dict[str, Any]]], data: st.DataObject, sources: Any
) -> None:
    rows = [row for file in files for row in file]
    with tempfile.TemporaryDirectory() as name:
        for number, file in enumerate(files):
            group = data.draw(st.integers(1, 4))
            write(Path(name, "rows", f"{number}.parquet"), file, group=group, schema=SCHEMA)
        source = ParquetSource("rows", folder=Path(name))
        assert source.count_items() == len(rows)
        plan = sources.plan(source)
        reader = source.open()
        assert sources.read_range(reader, plan) == rows
        start = data.draw(st.integers(0, len(rows)))
        stop = data.draw(st.integers(start, len(rows)))
        assert sources.read_range(reader, plan, start, stop) == rows[start:stop]
        picked = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
        wanted = ItemsWanted(first_ordinal=0, count=len(picked), positions=picked)
        assert list(reader.read(wanted)) == [rows[row] for row in picked]


def test_files_of_a_folder_come_by_name(tmp_path: Path, sources: Any) -> None:
    for name in ("b", "a", "a-1", "é", ".hidden", "_metadata"):
        write(tmp_path / f"{name}.parquet", [{"n": name}])
    (tmp_path / "inner.parquet").mkdir()
    (tmp_path / "notes.txt").touch()
    rows = sources.read(ParquetSource(".", folder=tmp_path))
    assert [row["n"] for row in rows] == ["a-1", "a", "b", "é"]


def test_keys_are_read_a_block_at_a_time(tmp_path: Path, sources: Any) -> None:
    rows = [{"id": f"k{row}"} for row in range(SCAN_BLOCK_ITEMS + 10)]
    write(tmp_path / "x.parquet", rows, group=len(rows))
    plan = sources.plan(ParquetSource("x.parquet", key="id", folder=tmp_path))
    assert plan.keys == [row["id"] for row in rows]
    assert plan.positions == list(range(len(rows)))
    assert max(plan.block_counts) <= SCAN_BLOCK_ITEMS


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.uint64(), pa.int8()],
    ids=str,
)
def test_keys_of_text_and_integers(tmp_path: Path, kind: Any, sources: Any) -> None:
    values = ["1", "2", "3"] if not pa.types.is_integer(kind) else [1, 2, 3]
    pq.write_table(pa.table({"id": pa.array(values, kind)}), tmp_path / "x.parquet")
    pairs = sources.pairs(ParquetSource("x.parquet", key="id", folder=tmp_path))
    assert pairs == [(str(value), {"id": value}) for value in values]


def test_a_row_without_a_key_is_an_item(tmp_path: Path, sources: Any) -> None:
    write(tmp_path / "x.parquet", [{"id": "//row:1"}, {"id": None}, {"id": ""}, {"id": "a"}])
    pairs = sources.pairs(ParquetSource("x.parquet", key="id", folder=tmp_path))
    assert [key for key, _ in pairs] == ["////row:1", "//row:1", "//row:2", "a"]
    assert [item[:2] for _, item in pairs[1:3]] == [("unavailable", "NoKey")] * 2


def test_columns_choose_what_items_have(tmp_path: Path, sources: Any) -> None:
    write(tmp_path / "x.parquet", [{"id": 1, "a": {"b": 2}, "c": 3}])
    expected = [{"c": 3, "a": {"b": 2}}]
    for key in (None, "id"):
        source = ParquetSource("x.parquet", key=key, folder=tmp_path, columns=["c", "a"])
        assert sources.read(source) == expected
        assert list(sources.read(source)[0]) == ["c", "a"]
    assert source.identity["columns"] == '["c", "a"]'


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"columns": ["gone"]}, "no column 'gone', but id, x"),
        ({"key": "gone"}, "no column 'gone'"),
        ({"key": "x"}, "keys of type double"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    write(tmp_path / "x.parquet", [{"id": 1, "x": 2.5}])
    with pytest.raises(UsageError, match=text):
        list(ParquetSource("x.parquet", folder=tmp_path, **options).scan())


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="same name"):
        list(ParquetSource("x.parquet", folder=tmp_path).scan())


@pytest.mark.parametrize("options", [{"columns": "id"}, {"columns": []}, {"key": ""}, {"key": 1}])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: Any) -> None:
    with pytest.raises(UsageError):
        ParquetSource("x.parquet", folder=tmp_path, **options)


def test_a_wrong_path_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("not Parquet at all")
    (tmp_path / "nothing.parquet").touch()
    for name, text in [
        ("gone.parquet", "no file"),
        ("empty", r"no \*.parquet files"),
        ("text.parquet", "as Parquet"),
        ("nothing.parquet", "as Parquet"),
    ]:
        source = ParquetSource(name, folder=tmp_path)
        for fail in (source.count_items, lambda source=source: list(source.scan())):
            with pytest.raises(StorageError if "no " in text else UsageError, match=text) as caught:
                fail()
            assert str(tmp_path) in str(caught.value)


def test_what_the_machine_cannot_read_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError) as caught:
        list(ParquetSource("loop", folder=tmp_path).scan())
    assert caught.value.errno is not None


def test_a_file_that_is_gone_when_read_is_a_storage_error(tmp_path: Path, sources: Any) -> None:
    write(tmp_path / "x.parquet", [{"id": 1}])
    source = ParquetSource("x.parquet", folder=tmp_path)
    plan = sources.plan(source)
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(StorageError, match=r"x\.parquet"):
        sources.read_range(source.open(), plan)


def test_a_damaged_row_group_costs_its_own_rows(tmp_path: Path, sources: Any) -> None:
    rows = [{"id": row, "text": os.urandom(50).hex()} for row in range(30)]
    path = tmp_path / "x.parquet"
    write(path, rows, group=10)
    group = pq.ParquetFile(path).metadata.row_group(1)
    for key in (None, "id"):
        source = ParquetSource("x.parquet", key=key, folder=tmp_path)
        plan = sources.plan(source)
        start = group.column(1).dictionary_page_offset or group.column(1).data_page_offset
        data = bytearray(path.read_bytes())
        data[start : start + 200] = b"\xff" * 200
        path.write_bytes(data)
        shown = sources.read_range(source.open(), plan)
        assert shown[:10] == rows[:10]
        assert [item[0] for item in shown[10:20]] == ["unavailable"] * 10
        assert shown[20:] == rows[20:]


def test_a_value_beyond_python_costs_its_own_row(tmp_path: Path, sources: Any) -> None:
    times = pa.array([0, 2**62, 5], pa.timestamp("us"))
    pq.write_table(pa.table({"t": times}), tmp_path / "x.parquet")
    first, second, third = sources.read(ParquetSource("x.parquet", folder=tmp_path))
    assert first == {"t": datetime.datetime(1970, 1, 1)}  # noqa: DTZ001 (such columns have no zone)
    assert second[0] == "unavailable"
    assert third["t"].microsecond == 5


def test_a_source_that_changed_gives_no_other_item(tmp_path: Path, sources: Any) -> None:
    path = tmp_path / "x.parquet"
    write(path, [{"id": "a"}, {"id": "b"}])
    unkeyed = ParquetSource("x.parquet", folder=tmp_path)
    keyed = ParquetSource("x.parquet", key="id", folder=tmp_path)
    plans = [sources.plan(unkeyed), sources.plan(keyed)]
    write(path, [{"id": "b"}, {"id": "a"}])
    shown = sources.read_range(keyed.open(), plans[1])
    assert [item[1] for item in shown] == ["SourceChanged"] * 2
    write(path, [{"id": "a"}])
    shown = sources.read_range(unkeyed.open(), plans[0])
    assert [item[1] for item in shown] == ["SourceChanged"] * 2
    anew = ParquetSource("x.parquet", folder=tmp_path)
    shown = sources.read_range(anew.open(), plans[0])
    assert shown[0] == {"id": "a"}
    assert shown[1][1] == "SourceChanged"


def test_a_second_scan_sees_rows_that_were_added(tmp_path: Path, sources: Any) -> None:
    write(tmp_path / "rows" / "0.parquet", [{"n": 1}])
    source = ParquetSource("rows", folder=tmp_path)
    assert sources.plan(source).count == 1
    write(tmp_path / "rows" / "1.parquet", [{"n": 2}])
    assert sources.plan(source).count == 2
    assert sources.read(source) == [{"n": 1}, {"n": 2}]


def test_making_a_source_imports_no_pyarrow(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from batten.sources.records.parquet import ParquetSource\n"
        "from batten.sources import files, items, range\n"
        "from batten.sources.records import csv, jsonl\n"
        "ParquetSource('x', key='id', folder=pathlib.Path('.'))\n"
        "sys.exit('pyarrow' in sys.modules)\n"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0


@pytest.mark.parametrize("key", [None, "n"])
def test_files_are_closed_as_soon_as_they_are_scanned(tmp_path: Path, key: str | None) -> None:
    """Not when garbage is collected: there may be more of them than files may be open."""
    for number in range(40):
        write(tmp_path / "in" / f"{number:02}.parquet", [{"n": number}])
    source = ParquetSource("in", folder=tmp_path, key=key)
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        most = max(len(os.listdir("/proc/self/fd")) for _ in source.scan())
    finally:
        gc.enable()
    assert most - before < 10
