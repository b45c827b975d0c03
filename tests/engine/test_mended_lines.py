"""A line that could not be read has no key but its place. When it is mended, its item has a key,
and nothing is left of the place: no quarantined item, no account."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

WRITE = '.write_parquet("out")'
JOB = """
    def double(row):
        with open("calls", "a") as calls:
            calls.write(row["id"] + "\\n")
        if row["id"] == "fails":
            raise ValueError("for good")
        return {{"twice": 2 * int(row["n"])}}

    pipeline = batten.{source}.map(double){write}.options(batch_size=3, stop_when=None)
"""

JSONL = 'from_jsonl("rows.jsonl", key="id")'
CSV = 'from_csv("rows.csv", key="id")'
NAMES = ["a", "b", "fails", "c", "d", "e", "f"]
BROKEN = 1


def write_jsonl(job: Any, broken: str | None, names: list[str] = NAMES) -> None:
    lines = [json.dumps({"id": name, "n": n}) for n, name in enumerate(names)]
    if broken is not None:
        lines[BROKEN] = broken
    (job.path / "rows.jsonl").write_text("\n".join(lines) + "\n")


def write_csv(job: Any, broken: str | None) -> None:
    lines = [f"{name},{n}" for n, name in enumerate(NAMES)]
    if broken is not None:
        lines[BROKEN] = broken
    (job.path / "rows.csv").write_text("\n".join(["id,n", *lines]) + "\n")


def twice_of(job: Any) -> dict[str, int]:
    return {row["key"]: row["twice"] for row in job.rows()}


ALL = {name: 2 * n for n, name in enumerate(NAMES) if name != "fails"}


@pytest.mark.parametrize(
    ("source", "write", "broken"),
    [
        (JSONL, write_jsonl, '{"id": "b", "n'),
        (JSONL, write_jsonl, '{"n": 1}'),
        (CSV, write_csv, "b,1,2"),
        (CSV, write_csv, ",1"),
    ],
)
def test_a_mended_line_leaves_no_ghost(job: Any, source: str, write: Any, broken: str) -> None:
    job.write(JOB.format(source=source, write=WRITE))
    write(job, broken)
    first = job.run("--json", "--jobs", "1")
    assert (first.code, first.json["items"]["quarantined"]) == (3, 2)
    calls = job.calls()
    write(job, None)
    second = job.run("--json", "--jobs", "1")
    assert second.code == 3, second.err
    items = second.json["items"]
    assert (items["source"], items["committed"], items["quarantined"]) == (7, 6, 1)
    assert list(job.quarantined()) == ["fails"]
    assert twice_of(job) == ALL
    assert job.calls() == [*calls, "b"], "no other item is tried again"
    assert job.batten("diagnose", "out").code == 0
    verified = job.batten("verify", "out")
    assert verified.code == 0, verified.out
    assert job.run("--json").json["status"] == "nothing-to-do"


def test_a_line_that_moved_is_one_item(job: Any) -> None:
    """Its place is another one, and it is quarantined once."""
    job.write(JOB.format(source=JSONL, write=WRITE))
    write_jsonl(job, "no JSON", ["a", "b", "c"])
    assert job.run("--jobs", "1").code == 3
    lines = (job.path / "rows.jsonl").read_text()
    (job.path / "rows.jsonl").write_text('{"id": "first", "n": 7}\n' + lines)
    second = job.run("--json", "--jobs", "1")
    assert (second.code, second.json["items"]["quarantined"]) == (3, 1)
    assert list(job.quarantined()) == ["//line:3"]
    assert job.batten("verify", "out").code == 0


@pytest.mark.parametrize("key", ["", ', key="key"'])
def test_a_table_keeps_its_rows(job: Any, key: str) -> None:
    """Also one without a key, whose rows could not be taken out again; and a line that is broken
    again is an item again."""
    write = f'.write_sqlite("out.db", table="rows"{key})'
    job.write(JOB.format(source=JSONL, write=write))
    for broken in ("no JSON", None, "broken again", None):
        write_jsonl(job, broken)
        ran = job.run("--json", "--jobs", "1")
        assert ran.code == 3, ran.err
        failed = 1 if broken is None else 2
        assert ran.json["items"]["quarantined"] == failed, broken
        assert ran.json["items"]["source"] == (7 if broken is None else 7 + ("b" in rows_of(job)))
        assert rows_of(job) == {name: ALL[name] for name in rows_of(job)}
    assert rows_of(job) == ALL
    assert job.calls().count("a") == 1
    assert job.batten("verify", "out.db").code == 0


def rows_of(job: Any) -> dict[str, int]:
    with sqlite3.connect(job.path / "out.db") as database:
        found = database.execute("select key, twice from rows").fetchall()
    assert len(dict(found)) == len(found)
    return dict(found)
