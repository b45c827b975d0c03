"""Items that a table can't hold which takes all rows at once, in the place of those it has."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.faults import KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.errors import RefusedError
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Lab

BATTEN = str(Path(sys.executable).with_name("batten"))
EXIT_QUARANTINED = 3
UNFIT = "BATTEN_TEST_UNFIT_IN_REPLACED"
"""The variable with the items that don't fit just now, and the name that they then get."""
CALLS = "BATTEN_TEST_CALLS_IN_REPLACED"
ITEMS = 12
IN_PROCESS: dict[str, Any] = {"executor": "serial"}


def name(number: int) -> dict[str, str | None]:
    os.environ[CALLS] += f" {number}"
    unfit, value = json.loads(os.environ[UNFIT])
    return {"name": value if number in unfit else f"n{number}"}


def make_job(lab: Lab, ledger: str = "rows", **options: Any) -> Pipeline:
    made = batten.from_range(ITEMS).map(name, version="1")
    made = made.options(batch_size=3, schema={"name": "string"})
    return replace(lab.write(made, **options), output=lab.folder / ledger)


def make_unfit(fails: Sequence[int], value: str | None) -> None:
    os.environ[CALLS] = ""
    os.environ[UNFIT] = json.dumps([fails, value])


def names_of(lab: Lab) -> dict[int, Any]:
    found = [(row["key"], row["name"]) for row in lab.read()]
    assert len(found) == len(dict(found)), found
    return dict(found)


def good(but: Iterable[int] = ()) -> dict[int, str]:
    return {number: f"n{number}" for number in range(ITEMS) if number not in but}


def quarantined(lab: Lab) -> dict[str, str]:
    files = sorted((lab.folder / "rows.batten" / "quarantine").iterdir())
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {row["key"]: row["error"] for row in found}


def test_they_are_set_aside_and_all_others_replace_what_was_there(lab: Lab) -> None:
    value = lab.make_strict()
    make_unfit((), value)
    make_job(lab, mode="replace").run(**IN_PROCESS)
    make_unfit((2, 5, 9), value)
    report = make_job(lab, mode="replace").run(**IN_PROCESS, fresh=True)
    assert report.accounts is not None
    assert (report.status, report.executed_items) == ("complete", ITEMS)
    assert (report.accounts.committed, report.accounts.quarantined) == (ITEMS - 3, 3)
    assert sorted(map(int, os.environ[CALLS].split())) == list(range(ITEMS))
    assert names_of(lab) == good((2, 5, 9))
    told = quarantined(lab)
    assert set(told) == {"2", "5", "9"}
    assert all("can't hold it" in error for error in told.values())
    assert batten.diagnose(lab.folder / "rows").state == "COMPLETE"
    assert verify(lab.folder / "rows").is_sound
    assert make_job(lab, mode="replace").run(**IN_PROCESS).status == "nothing-to-do"


def test_they_are_tried_again_and_those_that_still_do_not_fit_stay_aside(lab: Lab) -> None:
    value = lab.make_strict()
    for unfit in ((2, 5, 9), (5,), ()):
        make_unfit(unfit, value)
        make_job(lab, mode="replace").run(**IN_PROCESS, retry_quarantined=True)
        assert names_of(lab) == good(unfit)
    assert batten.diagnose(lab.folder / "rows").items.quarantined == 0


def test_they_are_set_aside_where_rows_of_one_run_are_replaced(lab: Lab) -> None:
    value = lab.make_strict("day")
    for day, unfit in (("1", (0,)), ("2", (4, 5))):
        make_unfit(unfit, value)
        made = make_job(lab, f"day{day}", mode="replace", where={"day": day})
        made.run(**IN_PROCESS)
    found = sorted((row["day"], row["key"]) for row in lab.read())
    assert found == [
        *(("1", number) for number in good((0,))),
        *(("2", number) for number in good((4, 5))),
    ]


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_rows_that_make_way_are_no_reason(lab: Lab) -> None:
    """A table that allows a name once holds the names of before until they go."""
    lab.make("key bigint, name text UNIQUE")
    for unfit in ((), (4, 9, 10)):
        make_unfit(unfit, "n0")
        made = make_job(lab, mode="replace")
        made.run(**IN_PROCESS, fresh=True)
        assert names_of(lab) == good(unfit)
    assert set(quarantined(lab)) == {"4", "9", "10"}


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_a_table_that_takes_nothing_is_no_fault_of_items_and_keeps_what_it_holds(lab: Lab) -> None:
    lab.make("key bigint, name text CHECK (length(name) < 5)")
    make_unfit((), None)
    make_job(lab, mode="replace").run(**IN_PROCESS)
    make_unfit(list(range(30)), "too long")
    many = batten.from_range(30).map(name, version="1").options(batch_size=30, stop_when=None)
    with pytest.raises(RefusedError, match="any of the first 20 items"):
        replace(lab.write(many, mode="replace"), output=lab.folder / "rows").run(
            **IN_PROCESS, fresh=True
        )
    assert names_of(lab) == good()


def test_where_failures_end_the_run_it_ends_and_what_was_there_stays(lab: Lab) -> None:
    value = lab.make_strict()
    make_unfit((), value)
    make_job(lab, mode="replace").run(**IN_PROCESS)
    make_unfit((7,), value)
    with pytest.raises(batten.BattenError, match="item '7' failed"):
        make_job(lab, mode="replace").options(on_error="raise").run(**IN_PROCESS, fresh=True)
    assert names_of(lab) == good()


def rename(rows: pa.Table) -> pa.Table:
    unfit, value = json.loads(os.environ[UNFIT])
    names = [value if key in unfit else f"n{key}" for key in rows.column("key").to_pylist()]
    return rows.append_column("name", pa.array(names, pa.string()))


def test_of_a_function_of_whole_tables_no_item_is_set_aside(lab: Lab) -> None:
    value = lab.make_strict()
    (lab.folder / "keys.csv").write_text("key\n0\n1\n2\n")

    def run() -> None:
        made = batten.from_tables(rows=lab.folder / "keys.csv").apply(rename)
        lab.write(made, mode="replace").run(fresh=True)

    make_unfit((), value)
    run()
    make_unfit((1,), value)
    with pytest.raises(RefusedError, match="can't hold a row"):
        run()
    assert names_of(lab) == {number: f"n{number}" for number in range(3)}


JOB = """
    import batten

    def name(number):
        return {"name": "bad" if number in (1, 6) else f"new {number}"}

    pipeline = (
        batten.from_range(9).map(name).options(batch_size=3)
        .write_parquet("rows").write_sqlite("base.db", "rows", mode="replace", dataset="latest")
    )
"""
OLD = [(number, f"old {number}") for number in range(4)]
NEW = [(number, f"new {number}") for number in range(9) if number not in (1, 6)]


def read_rows(folder: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(folder / "base.db")) as base:
        return list(base.execute("SELECT key, name FROM rows ORDER BY key"))


def old_name(number: int) -> dict[str, str]:
    return {"name": f"old {number}"}


def put_job(folder: Path) -> None:
    """With rows of an earlier run of that name, which make way."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(textwrap.dedent(JOB))
    with closing(sqlite3.connect(folder / "base.db")) as base:
        base.execute("CREATE TABLE rows (key bigint, name text CHECK (name <> 'bad'))")
    before = (
        batten.from_range(4)
        .map(old_name)
        .write_sqlite(
            folder / "base.db", "rows", mode="replace", dataset="latest", ledger=folder / "before"
        )
    )
    before.run(**IN_PROCESS)
    assert read_rows(folder) == OLD


def check_always(folder: Path, trail: Trail) -> None:
    last = trail.last
    assert (last.returncode < 0 and last.fault is not None) or last.returncode == EXIT_QUARANTINED
    assert "Traceback" not in last.stderr, last.stderr
    check_unharmed(folder / "rows")
    assert read_rows(folder) in (OLD, NEW)


def check_done(folder: Path, trail: Trail) -> None:
    assert read_rows(folder) == NEW
    found = batten.diagnose(folder / "rows")
    assert (found.state, found.items.quarantined) == ("COMPLETE", 2)


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(20, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, True])
def test_killed_around_any_call(
    sample: int, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        Experiment(
            prepare=put_job,
            command=lambda folder: [BATTEN, "run", "job.py", "--jobs", "1", "--quiet"],
            folders=lambda folder: [
                *(folder / name for name in ("rows", "rows.batten", "base.db")),
                folder / "base.db-journal",
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
