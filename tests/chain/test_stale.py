"""What an output was made of is another now: it is STALE, and the next run brings it up to date."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.chain.inputs import diagnose_inputs
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Pair

Folder = Any
"""A `JobFolder` of tests/conftest.py."""


def state(path: Path) -> tuple[str, int, str]:
    found = batten.diagnose(path)
    return found.state.value, found.exit_code, found.reason


def test_a_dataset_upstream_that_changed(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    assert state(pair.down)[0] == "COMPLETE"
    pair.run_first(fresh=True)
    assert state(pair.down)[0] == "COMPLETE", "the same parts were made anew"
    pair.write(4, "other words")
    pair.write(8, "more")
    pair.run_first()
    found, code, reason = state(pair.down)
    assert (found, code) == ("STALE", 10)
    assert "of which 2 of 4 batches are new or changed" in reason
    pair.run_second()
    assert state(pair.down)[0] == "COMPLETE"
    pair.write(9, "and more")
    pair.run_first(limit=9)
    found, code, reason = state(pair.down)
    assert (found, code) == ("STALE", 10)
    assert "is not complete" in reason


def test_a_dataset_upstream_that_is_gone(pair: Pair) -> None:
    """What was made of it is whole, and may be the source of another."""
    pair.run_first()
    pair.run_second()
    shutil.rmtree(pair.up)
    shutil.rmtree(pair.folder / "up.batten")
    found = batten.diagnose(pair.down)
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert "which is gone" in found.reason
    assert found.next.startswith("bring back")
    third = batten.from_dataset(pair.down).map(_copy).write_parquet(pair.folder / "third")
    assert third.run(executor="serial").executed_items == 16


def _copy(row: dict[str, Any]) -> dict[str, Any]:
    return {"loud": row["loud"]}


@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_what_was_seen_upstream_is_lost(pair: Pair, damage: bytes | None) -> None:
    """Nobody can tell, so it is not called up to date. A run looks again, and computes nothing."""
    pair.run_first()
    pair.run_second()
    seen = pair.folder / "down.batten" / "plan" / "upstream.json"
    seen.unlink() if damage is None else seen.write_bytes(damage)
    found = batten.diagnose(pair.down)
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert "is lost" in found.reason
    told = verify(pair.down)
    assert told.is_sound is (damage is None)
    paths = [each.path for each in told.findings]
    assert [path.endswith("down.batten/plan/upstream.json") for path in paths] == (
        [] if damage is None else [True]
    )
    assert pair.run_second().executed_items == 0
    assert verify(pair.down).is_sound
    assert state(pair.down)[0] == "COMPLETE"


def test_one_that_is_behind_is_no_source(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    third = batten.from_dataset(pair.down).map(_copy).write_parquet(pair.folder / "third")
    third.run(executor="serial")
    pair.write(4, "other words")
    pair.run_first()
    with pytest.raises(batten.RefusedError, match="STALE"):
        third.run(executor="serial")
    assert state(pair.folder / "third")[0] == "COMPLETE", "its own source has not changed yet"
    third.run(executor="serial", skip_checks=True)
    pair.run_second()
    assert state(pair.folder / "third")[0] == "STALE"


def write_rows(folder: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    if kind == "jsonl":
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "rows.jsonl").write_text(text)
    elif kind == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (folder / "rows.csv").write_text("".join(f"{line}\n" for line in lines))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


READ: dict[str, Callable[..., Pipeline]] = {
    "jsonl": batten.from_jsonl,
    "csv": batten.from_csv,
    "parquet": batten.from_parquet,
}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"text": str(row["text"])}


def _read(path: Path) -> dict[str, Any]:
    return {"text": path.read_text()}


@pytest.mark.parametrize("kind", READ)
def test_records_with_keys(kind: str, tmp_path: Path) -> None:
    rows = [{"id": f"i{number}", "text": number} for number in range(5)]
    write_rows(tmp_path, kind, rows)
    out = tmp_path / "out"
    source = READ[kind](tmp_path / f"rows.{kind}", key="id", removed="drop")
    job = source.map(_row).write_parquet(out)
    job.run(executor="serial")
    assert diagnose_inputs(out).state == "COMPLETE"
    rows = [{"id": "new", "text": 9}, *rows[1:4], {"id": "i4", "text": 44}]
    write_rows(tmp_path, kind, rows)
    assert batten.diagnose(out).state == "COMPLETE", "nobody asked"
    found = diagnose_inputs(out)
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert found.reason.endswith("1 item changed, 1 item gone, 1 item new")
    job.run(executor="serial")
    assert diagnose_inputs(out).state == "COMPLETE"
    (tmp_path / f"rows.{kind}").unlink()
    found = diagnose_inputs(out)
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert found.next.startswith("bring it back; then: ")


@pytest.mark.parametrize("kind", READ)
def test_records_without_keys(kind: str, tmp_path: Path) -> None:
    rows = [{"text": number} for number in range(5)]
    write_rows(tmp_path, kind, rows)
    out = tmp_path / "out"
    job = READ[kind](tmp_path / f"rows.{kind}").map(_row).write_parquet(out)
    job.run(executor="serial")
    write_rows(tmp_path, kind, [*rows, {"text": 5}])
    assert diagnose_inputs(out).reason.endswith("1 item new")
    job.run(executor="serial")
    assert diagnose_inputs(out).state == "COMPLETE"
    write_rows(tmp_path, kind, [{"text": 7}, *rows])
    found = diagnose_inputs(out)
    assert found.state == "STALE"
    assert "row 1 is not what it was" in found.reason


@pytest.mark.parametrize("changed", ["stat", "content", "ignore"])
def test_files(changed: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.txt").write_text(str(number))
    out = tmp_path / "in" / "out"
    source = batten.from_files(tmp_path / "in" / "**" / "*", changed=changed, removed="drop")
    job = source.map(_read).write_parquet(out)
    job.run(executor="serial")
    assert diagnose_inputs(out).state == "COMPLETE", "what it makes itself is no input"
    path = tmp_path / "in" / "2.txt"
    before = path.stat()
    path.write_text("x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert diagnose_inputs(out).state == ("STALE" if changed == "content" else "COMPLETE")
    path.write_text("longer")
    assert diagnose_inputs(out).state == ("COMPLETE" if changed == "ignore" else "STALE")
    path.unlink()
    assert diagnose_inputs(out).reason.endswith("1 item gone")
    job.run(executor="serial")
    assert diagnose_inputs(out).state == "COMPLETE"


def test_what_is_gone_and_kept_is_a_hint(pair: Pair) -> None:
    source = batten.from_files(pair.folder / "in" / "*.txt")
    source.flat_map(pair.split).write_parquet(pair.up).run(executor="serial")
    pair.remove(3)
    found = diagnose_inputs(pair.up)
    assert found.state == "COMPLETE"
    assert found.hints[-1] == "1 item gone from the source: the rows stay"


def test_what_only_the_job_knows_is_a_hint(tmp_path: Path) -> None:
    out = tmp_path / "out"
    batten.from_items(["a", "b"]).map(_text).write_parquet(out).run(executor="serial")
    found = diagnose_inputs(out)
    assert found.state == "COMPLETE"
    assert "can't be told without the job" in found.hints[-1]


def _text(item: str) -> dict[str, str]:
    return {"text": item}


def test_the_command_says_so_wherever_it_is_asked(job: Folder) -> None:
    (job.path / "in").mkdir()
    (job.path / "in" / "a.txt").write_text("a")
    job.write("""
        def read(path):
            return {"text": path.read_text()}

        pipeline = batten.from_files("in/*.txt").map(read).write_parquet("out/")
    """)
    assert job.run().code == 0
    (job.path / "in" / "a.txt").write_text("longer")
    other = job.path / "elsewhere"
    other.mkdir()
    assert job.batten("diagnose", "../out", cwd=other).code == 0
    ended = job.batten("diagnose", "../out", "--inputs", "--json", cwd=other)
    assert (ended.code, ended.json["state"], ended.json["action"]) == (10, "STALE", "run")
    assert ended.json["next"] == f"cd {job.path} && batten run job.py"
    moved = job.path.with_name("moved")
    job.path.rename(moved)
    ended = job.batten("diagnose", "out", "--inputs", "--json", cwd=moved)
    assert (ended.code, ended.json["next"]) == (10, "batten run job.py")
    ended = job.batten("diagnose", "out", "in", "--inputs", cwd=moved)
    assert ended.code == 2


def test_show_says_what_diagnose_does(job: Folder) -> None:
    """Of a dataset upstream, of tables, and of files when it is asked to look at them."""
    (job.path / "in").mkdir()
    for name in "abc":
        (job.path / "in" / f"{name}.txt").write_text(name)
    (job.path / "rows.csv").write_text("x\n1\n")
    job.write("""
        def read(path):
            return {"text": path.read_text()}

        def again(row):
            return {"text": row["text"]}

        def same(rows):
            return rows

        first = batten.from_files("in/*.txt").map(read).write_parquet("first/")
        second = batten.from_dataset("first/").map(again).write_parquet("second/")
        third = batten.from_tables(rows="rows.csv").apply(same).write_csv("third.csv")
    """)
    for name in ("first", "second", "third"):
        assert job.run(job=f"job.py:{name}").code == 0

    def look(path: str, *words: str) -> tuple[Any, ...]:
        shown = job.batten("show", path, *words)
        found = job.batten("show", path, *words, "--json").json
        told = job.batten("diagnose", path, *words, "--json").json
        assert (found["state"], found["reason"]) == (told["state"], told["reason"])
        is_stale = found["state"] == "STALE"
        assert (f"why      {found['reason']}" in shown.out) == is_stale
        return found["state"], shown.out

    assert look("first", "--inputs")[0] == "COMPLETE"
    (job.path / "in" / "a.txt").write_text("longer")
    (job.path / "in" / "b.txt").unlink()
    (job.path / "rows.csv").write_text("x\n1\n2\n")
    assert look("first")[0] == "COMPLETE"
    state, shown = look("first", "--inputs")
    assert (state, "1 item changed" in shown) == ("STALE", True)
    assert "hint     1 item gone from the source: the rows stay" in shown
    assert look("third.csv")[0] == "STALE"
    assert job.run(job="job.py:first").code == 0
    assert look("first", "--inputs")[0] == "COMPLETE"
    assert look("second")[0] == "STALE"
