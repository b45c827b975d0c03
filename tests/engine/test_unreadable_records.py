"""Records whose content can't be read: they cost their own rows, and are computed once mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten

ROWS = 30
GROUP = 10
DAMAGED = set(range(GROUP, 2 * GROUP))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[list[int], set[int]]]:
    """Runs a job over the records: what was called, and which rows there are."""
    called: list[int] = []

    def take(record: dict[str, Any]) -> dict[str, Any]:
        called.append(int(record["id"]))
        return {"id": int(record["id"]), "text": record["text"]}

    def run(make: Callable[..., Any], name: str, **options: Any) -> tuple[list[int], set[int]]:
        called.clear()
        job = make(tmp_path / name, **options).map(take).options(batch_size=7, stop_when=None)
        job.write_parquet(tmp_path / "out").run(executor="serial")
        rows = pq.read_table(tmp_path / "out").to_pylist()
        assert len(rows) == len({row["id"] for row in rows})
        return list(called), {row["id"] for row in rows}

    return run


def write_whole(path: Path) -> bytes:
    rows = [{"id": row, "text": f"{row:050}"} for row in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=GROUP, use_dictionary=False)
    return path.read_bytes()


def damage(path: Path) -> None:
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)


def test_a_row_group_that_is_mended_is_computed(tmp_path: Path, run: Any) -> None:
    whole = write_whole(tmp_path / "x.parquet")
    damage(tmp_path / "x.parquet")
    others = set(range(ROWS)) - DAMAGED
    called, rows = run(batten.from_parquet, "x.parquet", key="id")
    assert (set(called), rows) == (others, others)
    assert run(batten.from_parquet, "x.parquet", key="id") == ([], others)
    (tmp_path / "x.parquet").write_bytes(whole)
    called, rows = run(batten.from_parquet, "x.parquet", key="id")
    assert (sorted(called), rows) == (sorted(DAMAGED), set(range(ROWS)))


@pytest.mark.parametrize("options", [{}, {"key": "id", "changed": "ignore"}])
def test_without_versions_it_costs_its_own_rows(
    tmp_path: Path, run: Any, options: dict[str, Any]
) -> None:
    write_whole(tmp_path / "x.parquet")
    damage(tmp_path / "x.parquet")
    others = set(range(ROWS)) - DAMAGED
    called, rows = run(batten.from_parquet, "x.parquet", **options)
    assert (set(called), rows) == (others, others)


@pytest.mark.parametrize("changed", ["content", "ignore"])
@pytest.mark.parametrize(
    ("make", "name", "head", "line", "bad"),
    [
        (batten.from_jsonl, "x.jsonl", "", '{{"id": {0}, "text": "t"}}', b'{"id": 3, "te\xff'),
        (batten.from_csv, "x.csv", "id,text\n", "{0},t", b"3,\xff,more"),
    ],
    ids=["jsonl", "csv"],
)
def test_a_line_that_is_mended_is_computed(
    tmp_path: Path, run: Any, make: Any, name: str, head: str, line: str, bad: bytes, changed: str
) -> None:
    lines = [line.format(number).encode() for number in range(8)]
    damaged = [*lines[:3], bad, *lines[4:]]
    (tmp_path / name).write_bytes(head.encode() + b"\n".join(damaged) + b"\n")
    called, rows = run(make, name, key="id", changed=changed)
    assert (called, rows) == ([0, 1, 2, 4, 5, 6, 7], set(range(8)) - {3})
    (tmp_path / name).write_bytes(head.encode() + b"\n".join(lines) + b"\n")
    assert run(make, name, key="id", changed=changed) == ([3], set(range(8)))
