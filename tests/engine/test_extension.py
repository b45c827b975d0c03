"""A source that changed between two runs: what is new is added, what is there is untouched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.plan.keys import key_index
from batten.plan.keys.key_index import KeyIndex
from batten.sources.base import SCAN_BLOCK_ITEMS


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted(folder.glob("part-*")) for row in pq.read_table(part).to_pylist()
    ]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in folder.iterdir()}


def _double(row: dict[str, Any]) -> dict[str, Any]:
    return {"value": row["value"] * 2}


def _write(path: Path, keys: list[str]) -> None:
    path.write_text("".join(json.dumps({"id": k, "value": len(k)}) + "\n" for k in keys))


def _pipeline(folder: Path) -> batten.Pipeline:
    return (
        batten.from_jsonl(folder / "rows.jsonl", key="id")
        .map(_double)
        .options(batch_size=3)
        .write_parquet(folder / "out")
    )


def test_items_at_the_end_in_the_middle_and_gone(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out"
    _write(source, ["a", "bb", "ccc", "dddd", "eeeee"])
    first = _pipeline(tmp_path).run(executor="serial")
    before = _bytes(out)
    assert (first.status, first.rows) == ("complete", 5)

    _write(source, ["a", "new in the middle", "bb", "dddd", "eeeee", "new at the end"])
    report = _pipeline(tmp_path).run(executor="serial")
    assert (report.status, report.rows, report.executed_items) == ("complete", 7, 2)
    assert report.vanished_items == 1
    after = _bytes(out)
    assert {name: after[name] for name in before} == before
    assert [row["key"] for row in _rows(out)] == [
        *("a", "bb", "ccc", "dddd", "eeeee"),
        *("new in the middle", "new at the end"),
    ]
    assert _pipeline(tmp_path).run(executor="serial").status == "nothing-to-do"


def test_pending_items_are_read_where_the_source_has_them_now(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out"
    keys = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"]
    _write(source, keys)
    _pipeline(tmp_path).run(executor="serial", limit=3)
    whole = batten.from_jsonl(source, key="id").map(_double)
    planned = whole.options(batch_size=3).write_parquet(tmp_path / "elsewhere")
    planned.run(executor="serial")

    # Now the plan knows them all, but only three are published, and the file is edited.
    for part in sorted((tmp_path / "elsewhere").iterdir())[1:]:
        part.unlink()
        commit = tmp_path / "elsewhere.batten/commits" / f"{part.stem[5:]}.json"
        commit.unlink()
    (tmp_path / "elsewhere.batten/COMPLETE").unlink()
    _write(source, ["in front", *reversed(keys)])
    report = planned.run(executor="serial")
    assert (report.status, report.quarantined, report.rows) == ("complete", 0, 8)
    rows = {row["key"]: row["value"] for row in _rows(tmp_path / "elsewhere")}
    assert rows == {key: 2 * len(key) for key in [*keys, "in front"]}

    report = _pipeline(tmp_path).run(executor="serial")
    assert (report.status, report.quarantined, report.rows) == ("complete", 0, 8)
    assert {row["key"] for row in _rows(out)} == {*keys, "in front"}


def test_duplicates_are_counted_and_the_first_wins(tmp_path: Path) -> None:
    items = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)]
    pipeline = (
        batten.from_items(items, key=lambda item: item[0])
        .map(lambda item: {"value": item[1]})
        .write_parquet(tmp_path / "out")
    )
    report = pipeline.run(executor="serial")
    assert report.accounts is not None
    assert (report.accounts.source, report.accounts.duplicate, report.rows) == (5, 2, 3)
    assert [row["value"] for row in _rows(tmp_path / "out")] == [1, 2, 4]
    assert pipeline.run(executor="serial").status == "nothing-to-do"


def test_a_range_grows_and_does_not_shrink(tmp_path: Path) -> None:
    def pipeline(stop: int) -> batten.Pipeline:
        made = batten.from_range(stop).map(lambda number: {"x": number})
        return made.options(batch_size=4).write_parquet(tmp_path / "out")

    pipeline(10).run(executor="serial")
    before = _bytes(tmp_path / "out")
    report = pipeline(15).run(executor="serial")
    assert (report.status, report.rows, report.executed_items) == ("complete", 15, 5)
    after = _bytes(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    with pytest.raises(batten.RefusedError, match="12 items, but 15 are planned"):
        pipeline(12).run(executor="serial")
    assert _bytes(tmp_path / "out") == after


def test_steps_that_resize_rows_extend_too(tmp_path: Path) -> None:
    def pipeline(stop: int) -> batten.Pipeline:
        made = batten.from_range(stop).flat_map(lambda n: [{"x": n, "y": y} for y in range(n % 3)])
        made = made.filter(lambda row: row["y"] != 1)
        return made.options(batch_size=4).write_parquet(tmp_path / f"out{stop > 7}")

    pipeline(7).run(executor="serial")
    (tmp_path / "outFalse").rename(tmp_path / "outTrue")
    (tmp_path / "outFalse.batten").rename(tmp_path / "outTrue.batten")
    report = pipeline(12).run(executor="serial")
    assert report.status == "complete"
    assert [row["x"] for row in _rows(tmp_path / "outTrue")] == [n for n in range(12) if n % 3]


@pytest.mark.parametrize("place", [0, SCAN_BLOCK_ITEMS - 1, SCAN_BLOCK_ITEMS, 9999, 10_000])
def test_where_the_source_begins_to_differ(tmp_path: Path, place: int) -> None:
    """Source and plan are compared a block at a time: an item is new in any place of one."""

    def pipeline(keys: list[str]) -> batten.Pipeline:
        made = batten.from_items([{"id": key} for key in keys], key="id")
        made = made.map_batches(lambda table: table.append_column("x", table["key"]))
        return made.options(batch_size=3000).write_parquet(tmp_path / "out")

    keys = [f"key {number}" for number in range(10_000)]
    pipeline(keys).run(executor="serial", limit=6000)
    pipeline(keys).run(executor="serial")
    report = pipeline([*keys[:place], "new", *keys[place:]]).run(executor="serial")
    assert (report.status, report.executed_items, report.rows) == ("complete", 1, 10_001)
    report = pipeline([*keys[:place], "new", *keys[place + 1 :]]).run(executor="serial")
    assert (report.status, report.vanished_items) == ("nothing-to-do", int(place < 10_000))


def test_a_key_index_finds_what_was_added() -> None:
    index = KeyIndex()
    for number in range(5000):
        assert index.add(f"key {number}") is None
    assert [index.add(f"key {number}") for number in range(5000)] == list(range(5000))
    assert len(index) == 5000
    assert index.add("another") is None


def test_a_key_index_tells_digests_apart_that_agree_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where all sort alike, the bits that lie beside the number decide."""
    monkeypatch.setattr(key_index, "_split", lambda digest: (7, digest[0], 1))
    index = KeyIndex()
    first: dict[int, int] = {}
    for number in range(600):
        digest = hashlib.blake2b(f"key {number}".encode(), digest_size=14).digest()[0]
        known = index.add(f"key {number}")
        assert known == first.get(digest)
        first.setdefault(digest, len(index) - 1)
    assert len(index) == len(first) > 200
