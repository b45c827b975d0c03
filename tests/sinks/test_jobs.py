"""Jobs whose rows go to tables: every destination, the real thing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.errors import InconsistentError, RefusedError, StorageError
from batten.jobs.loading.job_folder import show_path
from batten.pipeline.pipeline import Pipeline
from batten.run.report import Report

if TYPE_CHECKING:
    from conftest import Lab, Server

FAILING = "BATTEN_TEST_FAILING"
"""The variable with the items that fail just now. What a function reads there is not compared."""


def name(number: int) -> dict[str, str]:
    if str(number) in os.environ.get(FAILING, "").split():
        raise ValueError(f"{number} fails")
    return {"name": f"n{number}"}


def other_name(number: int) -> dict[str, str]:
    return {"name": f"other{number}"}


def job(
    lab: Lab, items: int = 10, function: Callable[[int], Any] = name, **options: Any
) -> Pipeline:
    return lab.write(make(lab, items, function), **options)


def make(lab: Lab, items: int = 10, function: Callable[[int], Any] = name) -> Pipeline:
    made = batten.from_range(items).map(function, version=function.__name__)
    return made.options(batch_size=4)


def run(pipeline: Pipeline, *fails: int, **options: Any) -> Report:
    os.environ[FAILING] = " ".join(map(str, fails))
    return pipeline.run(executor="serial", **options)


def rows_of(items: int) -> list[dict[str, Any]]:
    return [{"key": number, "name": f"n{number}"} for number in range(items)]


def test_a_table_gets_every_row_once_as_the_source_grows(lab: Lab) -> None:
    assert run(job(lab)).status == "complete"
    assert lab.read() == rows_of(10)
    assert run(job(lab)).status == "nothing-to-do"
    report = run(job(lab, 13))
    assert lab.read() == rows_of(13)
    told = report.destinations
    assert [(each.kind, each.batches, each.rows) for each in told] == [(lab.kind, 4, 13)]
    diagnosis = batten.diagnose(lab.folder / "rows")
    assert diagnosis.state == "COMPLETE"
    assert [each.rows for each in diagnosis.destinations] == [13]


def test_a_table_is_added_later_beside_a_file_and_gets_all_without_a_call(lab: Lab) -> None:
    first = make(lab).write_csv(lab.folder / "rows")
    run(first)
    report = run(lab.write(first))
    assert (report.executed_items, lab.read()) == (0, rows_of(10))
    assert [each.kind for each in report.destinations] == ["csv", lab.kind]


def test_what_was_given_and_is_gone_is_told_and_given_again_when_asked(lab: Lab) -> None:
    run(job(lab))
    lab.drop()
    with pytest.raises(InconsistentError):
        run(job(lab))
    lab.forget()
    for record in (lab.folder / "rows.batten" / "deliveries").iterdir():
        record.rename(lab.folder / "moved.json")
    report = run(job(lab))
    assert (report.executed_items, lab.read()) == (0, rows_of(10))


def test_where_the_ledger_was_lost_nothing_is_doubled_or_mixed(lab: Lab) -> None:
    run(job(lab))
    ledger = lab.folder / "rows.batten"
    ledger.rename(lab.folder / "lost")
    run(job(lab))
    assert lab.read() == rows_of(10)
    ledger.rename(lab.folder / "lost again")
    with pytest.raises(InconsistentError, match="other content"):
        run(job(lab, function=other_name))
    assert lab.read() == rows_of(10)


def test_retried_items_are_added(lab: Lab) -> None:
    run(job(lab), 2, 5, 6)
    assert lab.read() == [row for row in rows_of(10) if row["key"] not in (2, 5, 6)]
    report = run(job(lab), 5, retry_quarantined=True)
    assert lab.read() == [row for row in rows_of(10) if row["key"] != 5]
    assert [each.rows for each in report.destinations] == [9]
    run(job(lab), retry_quarantined=True)
    assert lab.read() == rows_of(10)
    assert run(job(lab)).status == "nothing-to-do"


@pytest.mark.parametrize("make_lab", ["delta", "iceberg"], indirect=True)
def test_items_of_a_batch_whose_outcomes_are_not_kept_are_not_tried_again(lab: Lab) -> None:
    run(job(lab), 2, 5)
    lab.lose_outcomes()
    with pytest.raises(RefusedError, match="has batch 0, and keeps no outcomes"):
        run(job(lab, 13), retry_quarantined=True)
    assert len(lab.read()) == 8
    assert batten.diagnose(lab.folder / "rows").state == "COMPLETE"
    run(job(lab, 13))
    assert len(lab.read()) == 11


def test_a_batch_without_rows_is_remembered_too(lab: Lab) -> None:
    run(job(lab), 4, 5, 6, 7)
    assert [row["key"] for row in lab.read()] == [0, 1, 2, 3, 8, 9]
    assert run(job(lab)).status == "nothing-to-do"


def test_a_fresh_start_is_refused_where_rows_would_stay(lab: Lab) -> None:
    run(job(lab))
    with pytest.raises(RefusedError, match="old dataset"):
        run(job(lab, function=other_name), fresh=True)
    assert lab.read() == rows_of(10)
    assert batten.diagnose(lab.folder / "rows").state == "COMPLETE"


def test_no_advice_is_given_that_a_table_would_refuse(lab: Lab) -> None:
    run(job(lab))
    with pytest.raises(RefusedError) as refused:
        run(job(lab, function=other_name))
    assert "keeps its rows, and refuses fresh=True" in refused.value.next
    assert "another output and another destination" in refused.value.next
    (lab.folder / "rows.batten" / "dataset.json").unlink()
    found = batten.diagnose(lab.folder / "rows")
    assert found.state == "CORRUPT"
    for advice in (found.next, found.to_json()["findings"][0]["safe_action"]):
        assert "fresh" not in advice
        assert "another output and another destination" in advice


def test_a_fresh_start_is_possible_when_all_was_let_go_of(lab: Lab) -> None:
    run(job(lab))
    lab.drop()
    lab.forget()
    with pytest.raises(RefusedError, match="old dataset") as refused:
        run(job(lab, function=other_name), fresh=True)
    (record,) = (lab.folder / "rows.batten" / "deliveries").iterdir()
    assert refused.value.next.endswith(f"move {show_path(record)} away.")
    record.rename(lab.folder / "moved.json")
    run(job(lab, function=other_name), fresh=True)
    assert lab.read() == [{"key": number, "name": f"other{number}"} for number in range(10)]


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_with_a_key_a_row_takes_the_place_of_another(lab: Lab) -> None:
    lab.make("key bigint PRIMARY KEY, name text, mine text DEFAULT 'kept'")
    lab.insert(3, "old")
    run(job(lab, key="key"))
    assert lab.read() == [{**row, "mine": "kept"} for row in rows_of(10)]


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_a_server_that_is_down_is_told_and_gets_all_later(lab: Lab, server: Server) -> None:
    server.crash()
    try:
        with pytest.raises(StorageError, match="Connecting to table rows"):
            run(job(lab))
        assert not Path(lab.folder / "rows.batten").exists()
    finally:
        server.start()
    run(job(lab))
    assert lab.read() == rows_of(10)
