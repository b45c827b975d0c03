"""Columns that are added to a dataset, and the tables that have its rows: no row is given twice."""

from __future__ import annotations

import random
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.points import MakeFault
from batten.crashlab.sweeping import FAILURES, KILLS, Experiment, Trail, disturb
from batten.errors import RefusedError
from batten.run.report import Report

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

BATTEN = str(Path(sys.executable).with_name("batten"))


def narrow(number: int) -> dict[str, Any]:
    return {"name": f"n{number}"}


def wide(number: int) -> dict[str, Any]:
    return {"name": f"n{number}", "half": number / 2}


def run(lab: Lab, count: int, function: Any, **options: Any) -> Report:
    made = batten.from_range(count).map(function).options(batch_size=2)
    return lab.write(made).run(executor="serial", **options)


def add(lab: Lab, count: int, function: Any = wide, **options: Any) -> Report:
    return run(lab, count, function, accept_change=True, add_columns=True, **options)


def expected(count: int, old: int) -> list[dict[str, Any]]:
    return [
        {"key": number, "name": f"n{number}", "half": number / 2 if number >= old else None}
        for number in range(count)
    ]


def test_the_table_gets_the_column_and_only_new_rows(lab: Lab) -> None:
    run(lab, 5, narrow)
    assert add(lab, 7).executed_items == 2
    assert lab.read() == expected(7, 5)
    assert run(lab, 7, wide).status == "nothing-to-do"
    assert run(lab, 8, wide).executed_items == 1
    assert lab.read() == expected(8, 5)


def test_columns_are_added_twice(lab: Lab) -> None:
    def wider(number: int) -> dict[str, Any]:
        return {"name": f"n{number}", "half": number / 2, "text": str(number)}

    run(lab, 4, narrow)
    add(lab, 5)
    add(lab, 6, wider)
    texts = [None] * 5 + ["5"]
    assert lab.read() == [
        {**row, "text": text} for row, text in zip(expected(6, 4), texts, strict=True)
    ]


def test_a_column_is_added_though_there_is_no_new_row(lab: Lab) -> None:
    run(lab, 4, narrow)
    made = batten.from_range(4).map(narrow)
    wider = made.options(batch_size=2, schema={"name": str, "half": float})
    written = lab.write(wider)
    with pytest.raises(RefusedError) as refused:
        written.run(executor="serial")
    assert "no item is computed again" in refused.value.next
    assert "accept_change=True, add_columns=True" in refused.value.next
    report = written.run(executor="serial", accept_change=True, add_columns=True)
    assert report.executed_items == 0
    assert lab.read() == expected(4, 4)


def test_what_failed_is_tried_again_and_has_the_column(lab: Lab) -> None:
    def fails(number: int) -> dict[str, Any]:
        if number == 1:
            raise ValueError("no")
        return narrow(number)

    run(lab, 4, fails)
    add(lab, 4, retry_quarantined=True)
    rows = expected(4, 4)
    rows[1]["half"] = 0.5
    assert lab.read() == rows


JOB = """
    import batten

    def work(number):
        row = {"name": f"n{number}"}
        return row

    pipeline = batten.from_range(5).map(work).options(batch_size=2)CALL
"""


@needs_tracing
@pytest.mark.parametrize(
    "faults", [KILLS, pytest.param(FAILURES, marks=pytest.mark.crash)], ids=["killed", "fails"]
)
@pytest.mark.parametrize("sample", [2, pytest.param(10, marks=pytest.mark.crash)])
def test_disturbed_at_any_call(
    faults: Sequence[MakeFault],
    sample: int,
    make_lab: MakeLab,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    labs: dict[Path, Lab] = {}
    command = ["run", "job.py", "--jobs", "1", "--quiet"]
    adding = [BATTEN, *command, "--accept-change", "--add-columns"]

    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = labs[folder] = make_lab(folder)
        text = textwrap.dedent(JOB).replace("CALL", lab.call)
        (folder / "job.py").write_text(text)
        assert lab.command(*command).returncode == 0
        text = text.replace("from_range(5)", "from_range(7)")
        text = text.replace("return row", 'return {**row, "half": number / 2}')
        (folder / "job.py").write_text(text)

    def check_always(folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        check_unharmed(folder / "rows")
        rows = labs[folder].read()
        names = [row["name"] for row in rows]
        assert names == [f"n{number}" for number in range(len(rows))]
        assert len(rows) >= 5

    def check(folder: Path, trail: Trail) -> None:
        assert labs[folder].read() == expected(7, 5)

    disturb(
        Experiment(
            prepare=prepare,
            command=lambda folder: adding,
            folders=lambda folder: [folder, *labs[folder].folders],
            check=check,
            check_always=check_always,
            is_forked=True,
        ),
        tmp_path,
        seeded=seeded,
        faults=faults,
        sample=sample,
    )


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
@pytest.mark.parametrize("key", [(), ("key",)])
def test_items_that_changed_meanwhile_follow_by_key_or_are_refused(
    lab: Lab, key: tuple[str, ...]
) -> None:
    items = [{"id": f"i{number}", "n": number} for number in range(5)]
    changed = [{**item, "n": 9} if item["id"] == "i1" else item for item in items]

    def narrow_item(item: dict[str, Any]) -> dict[str, Any]:
        return {"name": str(item["n"])}

    def wide_item(item: dict[str, Any]) -> dict[str, Any]:
        return {"name": str(item["n"]), "half": item["n"] / 2}

    def act(items: list[dict[str, Any]], function: Any, **options: Any) -> Report:
        made = batten.from_items(items, key="id").map(function).options(batch_size=2)
        return lab.write(made, key=key).run(executor="serial", **options)

    act(items, narrow_item)
    before = lab.read()
    if not key:
        with pytest.raises(RefusedError, match="can't be told from others"):
            act(changed, wide_item, accept_change=True, add_columns=True)
        assert lab.read() == before
        assert "half" not in batten.open(lab.folder / "rows").schema.names
        return
    report = act(changed, wide_item, accept_change=True, add_columns=True)
    assert (report.executed_items, report.changed_items) == (1, 1)
    assert lab.read() == [
        {**row, "name": "9" if row["key"] == "i1" else row["name"], "half": half}
        for row, half in zip(before, [None, 4.5, None, None, None], strict=True)
    ]
