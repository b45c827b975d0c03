"""Items that a destination can't hold: they are named and set aside, and all others get there."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.faults import KillAfter, KillBefore, TearWrite
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.errors import RefusedError
from batten.inspect.verifying.verify import verify
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.pipeline.pipeline import Pipeline
from batten.sinks.base import RejectedError

if TYPE_CHECKING:
    from conftest import Lab

BATTEN = str(Path(sys.executable).with_name("batten"))
EXIT_QUARANTINED = 3
BAD = "bad"


@pytest.mark.parametrize("bad", [{3}, {0, 7}, {4, 5, 6, 7}, set(range(1, 8))])
def test_the_items_are_named_and_nothing_of_the_batch_is_there(
    lab: Lab, bad: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.folder)
    unfit = lab.make_strict()
    destination = lab.open()
    destination.prepare(SCHEMA)
    rows = [
        {"key": n, "name": unfit if n in bad and second else f"n{n}{second}"}
        for n in range(8)
        for second in range(2)
        if n != 2  # an item without rows, so numbers of rows and items differ
    ]
    kept = [n for n in range(8) if n != 2]
    staged = stage_batch(0, range(8), failed=[2], rows=rows)
    for step in (destination.rehearse, destination.publish):
        with pytest.raises(RejectedError) as rejected:
            step(staged)
        assert sorted(rejected.value.errors) == sorted(bad & set(kept))
        assert lab.sink.describe(lab.folder) in str(rejected.value)
        assert destination.lookup([staged.token]) == [TokenState.ABSENT]
    assert lab.read() == []
    good = [row for row in rows if row["key"] not in bad]
    without = stage_batch(0, range(8), failed=[2, *sorted(bad)], rows=good)
    destination.rehearse(without)
    assert destination.publish(without) is PublishEnd.COMMITTED
    assert lab.read() == good
    mended = [{**row, "name": "mended"} if row["key"] in bad else row for row in rows]
    with_one_bad = [{**row, "name": unfit} if row["key"] == max(bad) else row for row in mended]
    with pytest.raises(RejectedError) as rejected:
        destination.publish(stage_batch(0, range(8), failed=[2], rows=with_one_bad, digest="2"))
    assert list(rejected.value.errors) == [max(bad)]
    assert destination.publish(stage_batch(0, range(8), failed=[2], rows=mended, digest="3"))
    assert sorted((row["key"], row["name"]) for row in lab.read()) == sorted(
        (row["key"], row["name"]) for row in mended
    )
    destination.close()


def test_a_table_that_takes_nothing_is_no_fault_of_items(lab: Lab) -> None:
    unfit = lab.make_strict()
    destination = lab.open()
    destination.prepare(SCHEMA)
    rows = [{"key": n, "name": unfit} for n in range(50)]
    with pytest.raises(RefusedError, match="any of the first 20 items"):
        destination.publish(stage_batch(0, range(50), rows=rows))
    destination.close()
    assert lab.read() == []


UNFIT = "BATTEN_TEST_UNFIT"
"""The variable with the items that don't fit just now, and the name that they then get. What a
function reads there is not compared."""
CALLS = "BATTEN_TEST_CALLS"


def name(number: int) -> dict[str, str | None]:
    os.environ[CALLS] += f" {number}"
    if number == 8:
        raise ValueError("8 fails")
    unfit, value = json.loads(os.environ[UNFIT])
    return {"name": value if number in unfit else f"n{number}"}


def make_job(lab: Lab) -> Pipeline:
    made = batten.from_range(20).map(name, version="1")
    return made.options(batch_size=5, schema={"name": "string"})


def quarantined(lab: Lab) -> dict[str, str]:
    files = sorted((lab.folder / "rows.batten" / "quarantine").iterdir())
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {row["key"]: row["error"] for row in found}


def begin(lab: Lab, *fails: int) -> None:
    os.environ[CALLS] = ""
    make_unfit(fails, lab.make_strict())


def make_unfit(fails: Sequence[int], value: str | None = None) -> None:
    os.environ[UNFIT] = json.dumps([fails, value])


def names_of(lab: Lab) -> dict[int, Any]:
    found = [(row["key"], row["name"]) for row in lab.read()]
    assert len(found) == len(dict(found)), found
    return dict(found)


def test_a_job_sets_them_aside_and_is_done(lab: Lab) -> None:
    begin(lab, 3, 7, 9)
    report = lab.write(make_job(lab)).run(executor="serial")
    assert report.accounts is not None
    assert (report.accounts.committed, report.accounts.quarantined) == (16, 4)
    assert sorted(map(int, os.environ[CALLS].split())) == list(range(20))
    assert names_of(lab) == {n: f"n{n}" for n in range(20) if n not in (3, 7, 8, 9)}
    told = quarantined(lab)
    assert set(told) == {"3", "7", "8", "9"}
    assert told["8"] == "ValueError: 8 fails"
    assert all("can't hold it" in told[key] for key in ("3", "7", "9"))
    found = batten.diagnose(lab.folder / "rows")
    assert (found.state, found.items.quarantined) == ("COMPLETE", 4)
    assert verify(lab.folder / "rows").is_sound
    make_unfit(())
    again = lab.write(make_job(lab)).run(executor="serial", retry_quarantined=True)
    assert again.executed_items == 4
    assert names_of(lab) == {n: f"n{n}" for n in range(20) if n != 8}
    assert set(quarantined(lab)) == {"8"}


def test_where_failures_end_the_run_it_ends_and_says_which(lab: Lab) -> None:
    begin(lab, 3)
    pipeline = lab.write(make_job(lab).options(on_error="raise"))
    with pytest.raises(batten.BattenError, match="item '3' failed"):
        pipeline.run(executor="serial")
    assert set(names_of(lab)) <= set()


@pytest.mark.parametrize("is_first", [False, True])
def test_of_several_destinations_none_has_what_one_can_not_hold(lab: Lab, is_first: bool) -> None:
    begin(lab, 3, 12)
    path = lab.folder / "other.db"
    made = make_job(lab).write_parquet(lab.folder / "rows")

    def with_other(made: Pipeline) -> Pipeline:
        return made.write_sqlite(path, "others")

    pipeline = with_other(lab.write(made)) if is_first else lab.write(with_other(made))
    pipeline = pipeline.write_csv(lab.folder / "rows.csv")
    for _ in range(2):
        pipeline.run(executor="serial")
        expected = {n for n in range(20) if n not in (3, 8, 12)}
        assert set(names_of(lab)) == expected
        with closing(sqlite3.connect(path)) as base:
            assert {key for (key,) in base.execute("SELECT key FROM others")} == expected
        lines = (lab.folder / "rows.csv").read_text().splitlines()[1:]
        assert {int(line.split(",")[0]) for line in lines} == expected
    assert set(quarantined(lab)) == {"3", "8", "12"}


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_a_destination_that_is_added_later_says_what_is_in_the_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first table has the row and can't let go of it."""
    monkeypatch.chdir(lab.folder)
    begin(lab)
    make_unfit([3], BAD)
    before = make_job(lab).write_sqlite(
        lab.folder / "other.db", "others", ledger=lab.folder / "rows"
    )
    before.run(executor="serial")
    with pytest.raises(RefusedError, match=r"can't take 3, and table others of other\.db has it"):
        lab.write(before).run(executor="serial")


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.uint64(), 2**63),
        (pa.uint64(), 2**64 - 1),
        (pa.decimal128(38, 0), Decimal("9" * 38)),
    ],
)
def test_numbers_that_sqlite_can_not_hold(lab: Lab, kind: Any, value: Any) -> None:
    lab.make("key integer PRIMARY KEY, size integer CHECK (size < 9223372036854775807)")

    def size(number: int) -> dict[str, Any]:
        return {"size": value if number == 3 else number}

    made = batten.from_range(6).map(size, version="1").options(schema={"size": kind})
    lab.write(made).run(executor="serial")
    assert [row["key"] for row in lab.ask("SELECT key FROM rows")] == [0, 1, 2, 4, 5]
    assert set(quarantined(lab)) == {"3"}


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("column", "kind", "good", "bad"),
    [
        ("text", "string", "ok", "a\0b"),
        ("jsonb", pa.list_(pa.string()), ["ok"], ["a\0b"]),
        ("jsonb", pa.list_(pa.float64()), [0.5], [float("nan")]),
        ("varchar(3)", "string", "ok", "long"),
        ("smallint", "int64", 1, 2**15),
        ("integer", "double", 1.0, float("nan")),
        ("numeric(4, 2)", "double", 1.0, 1e9),
        ("date", "string", "2026-04-24", "2026-02-30"),
        ("text NOT NULL", "string", "ok", None),
        ("integer CHECK (value > 0)", "int64", 1, 0),
        ("text UNIQUE", "string", None, "same"),
        ("uuid", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "none"),
    ],
)
def test_values_that_postgres_can_not_hold(
    lab: Lab, column: str, kind: Any, good: Any, bad: Any
) -> None:
    begin(lab)
    lab.make(f"key bigint, value {column}, name text")
    lab.ask("INSERT INTO rows (key, value) VALUES (-1, 'same')") if "UNIQUE" in column else None

    def give(number: int) -> dict[str, Any]:
        return {"value": bad if number in (4, 11) else good}

    made = batten.from_range(12).map(give, version="1")
    made = made.options(schema={"value": kind}, batch_size=6)
    lab.write(made).run(executor="serial")
    found = [row["key"] for row in lab.ask("SELECT key FROM rows WHERE key >= 0 ORDER BY key")]
    assert found == [n for n in range(12) if n not in (4, 11)]
    assert set(quarantined(lab)) == {"4", "11"}


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_a_batch_with_two_rows_of_one_key_is_taken_as_by_sqlite(lab: Lab) -> None:
    """PostgreSQL itself refuses to change a row twice in one step."""

    def give(number: int) -> dict[str, Any]:
        return {"name": f"n{number}", "place": number % 3}

    made = batten.from_range(6).map(give, version="1")
    made.write_postgres(lab.address, "keyed", key="place", ledger=lab.folder / "rows").run(
        executor="serial"
    )
    found = lab.ask("SELECT name FROM keyed ORDER BY place")
    assert [row["name"] for row in found] == ["n3", "n4", "n5"]


JOB = """
    import batten

    def name(number):
        if number == 5:
            raise ValueError("5 fails")
        return {"name": "bad" if number in (1, 6) else f"n{number}"}

    made = batten.from_range(9).map(name).options(batch_size=3)
    made = made.write_parquet("rows")
    pipeline = made.write_sqlite("one.db", "rows").write_sqlite("two.db", "rows")
"""
GOOD = [0, 2, 3, 4, 7, 8]


def keys_of(path: Path) -> list[int]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as base:
        try:
            return [key for (key,) in base.execute("SELECT key FROM rows ORDER BY rowid")]
        except sqlite3.OperationalError:
            return []


def put_job(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(textwrap.dedent(JOB))
    with closing(sqlite3.connect(folder / "two.db")) as base:
        base.execute("CREATE TABLE rows (key bigint, name text CHECK (name <> 'bad'))")


def check_always(folder: Path, trail: Trail) -> None:
    last = trail.last
    assert (last.returncode < 0 and last.fault is not None) or last.returncode == EXIT_QUARANTINED
    assert "Traceback" not in last.stderr, last.stderr
    check_unharmed(folder / "rows")
    for base in ("one.db", "two.db"):
        found = keys_of(folder / base)
        assert found == GOOD[: len(found)], found


def check_done(folder: Path, trail: Trail) -> None:
    assert keys_of(folder / "one.db") == keys_of(folder / "two.db") == GOOD
    found = batten.diagnose(folder / "rows")
    assert (found.state, found.items.quarantined) == ("COMPLETE", 3)


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(30, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, True])
def test_killed_around_any_call(
    sample: int, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        Experiment(
            prepare=put_job,
            command=lambda folder: [BATTEN, "run", "job.py", "--jobs", "1", "--quiet"],
            folders=lambda folder: [
                *(folder / name for name in ("rows", "rows.batten", "one.db", "two.db")),
                *(folder / f"{name}.db-journal" for name in ("one", "two")),
            ],
            check=check_done,
            check_always=check_always,
            done_codes=frozenset({EXIT_QUARANTINED}),
            is_forked=True,
        ),
        tmp_path,
        seeded=seeded,
        faults=[KillBefore, KillAfter, TearWrite],
        sample=sample,
        is_twice=is_twice,
    )


def test_the_command_says_which_and_a_mended_function_gets_them_in(tmp_path: Path) -> None:
    put_job(tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [BATTEN, "run", "job.py", "--quiet", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == EXIT_QUARANTINED, first.stderr
    shown = subprocess.run(
        [BATTEN, "show", "rows"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "1: table rows of two.db can't hold it: CHECK" in shown.stdout
    (tmp_path / "job.py").write_text(textwrap.dedent(JOB).replace('"bad" if', '"good" if'))
    mended = run("--accept-change", "--retry-quarantined")
    assert mended.returncode == EXIT_QUARANTINED, mended.stderr
    for base in ("one.db", "two.db"):
        assert sorted(keys_of(tmp_path / base)) == [n for n in range(9) if n != 5]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("x" * 256, "a name of 256 bytes"),
        ("pages/" + "ü" * 128 + ".txt", "a name of 260 bytes"),
        ("/".join(["d" * 200] * 21), "bytes with the tree's own path"),
        ("\ud800", "no file name can have"),
        ("a\0b", "not a path within the tree"),
        ("../out", "not a path within the tree"),
        ("plain/below", "in the way"),
    ],
)
def test_a_path_that_a_tree_can_not_hold(path: str, told: str, tmp_path: Path) -> None:
    def put(change: batten.Transaction, number: int, prepared: dict[str, Any]) -> None:
        change.write("plain" if number == 0 else f"page{number}", prepared["text"])
        if number == 1:
            change.write(path, prepared["text"])

    made = batten.from_range(4).map(lambda number: {"text": f"t{number}"}, version="1")
    pipeline = made.write_tree(tmp_path / "tree", commit=put)
    for _ in range(2):
        report = pipeline.run(executor="serial")
        assert report.accounts is not None
        assert report.accounts.quarantined == 1
        assert {each.name for each in (tmp_path / "tree").iterdir()} == {"plain", "page2", "page3"}
    (row,) = pq.read_table(tmp_path / "tree.batten" / "quarantine").to_pylist()
    assert told in row["error"]


def test_a_folder_is_not_moved_to_where_its_files_would_have_no_name(tmp_path: Path) -> None:
    deep = "/".join(["d" * 200] * 10)
    with batten.transaction(tmp_path / "tree") as change:
        change.write(f"{deep}/file", "text")
    with (
        pytest.raises(batten.UsageError, match="bytes with the tree's own path"),
        batten.transaction(tmp_path / "tree") as change,
    ):
        change.move("d" * 200, "/".join(["e" * 250] * 10))
    with batten.transaction(tmp_path / "tree") as change:
        assert change.read(f"{deep}/file") == b"text"


FAR = np.datetime64("20000-01-01", "us")
NEAR = np.datetime64("2026-01-01", "us")


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_time_that_python_has_no_value_for(lab: Lab, is_nested: bool) -> None:
    """The library of Iceberg can't hold it; all others get it."""
    kind = pa.timestamp("us")

    def give(number: int) -> dict[str, Any]:
        value = FAR if number == 4 else NEAR
        return {"at": {"inner": value, "all": [value]} if is_nested else value}

    nested = pa.struct([("inner", kind), ("all", pa.list_(kind))])
    made = batten.from_range(12).map(give, version="1")
    made = made.options(schema={"at": nested if is_nested else kind}, batch_size=6)
    report = lab.write(made).write_jsonl(lab.folder / "rows.jsonl").run(executor="serial")
    assert report.accounts is not None
    assert report.accounts.quarantined == (1 if lab.kind == "iceberg" else 0)
    if lab.kind == "iceberg":
        assert "a time beyond the years 1 to 9999" in quarantined(lab)["4"]
    rows = [json.loads(line) for line in (lab.folder / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == report.accounts.committed
    if lab.kind != "iceberg":
        (far,) = [row["at"] for row in rows if row["key"] == 4]
        text = "20000-01-01T00:00:00.000000"
        assert far == ({"inner": text, "all": [text]} if is_nested else text)
    assert verify(lab.folder / "rows").is_sound


def test_a_tree_gets_a_time_that_python_has_no_value_for(tmp_path: Path) -> None:
    def put(change: batten.Transaction, number: int, prepared: dict[str, Any]) -> None:
        change.write(f"{number}", str(prepared["at"]))

    made = batten.from_range(3).map(lambda number: {"at": FAR}, version="1")
    made = made.options(schema={"at": pa.timestamp("us")})
    made.write_tree(tmp_path / "tree", commit=put).run(executor="serial")
    assert (tmp_path / "tree/2").read_text() == "20000-01-01T00:00:00.000000"


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
@pytest.mark.parametrize("value", [1000, -1000, 10**12, 0])
def test_durations_of_any_size_get_to_postgres(lab: Lab, unit: str, value: int) -> None:
    """Python writes a small one with a power of ten, which PostgreSQL does not read."""
    made = batten.from_range(2).map(lambda n: {"took": np.timedelta64(value, unit)}, version="1")
    made = made.options(schema={"took": pa.duration(unit)})
    report = lab.write(made).run(executor="serial")
    assert report.accounts is not None
    assert report.accounts.committed == 2
    (row, _) = lab.ask("SELECT extract(epoch FROM took) * 1000000 AS took FROM rows")
    micro = {"ns": Decimal("0.001"), "us": Decimal(1), "ms": Decimal(1000), "s": Decimal(10) ** 6}
    assert row["took"] == value * micro[unit]
