"""Runs that were cut short at an unlucky step, and what the next one makes of items that are others
now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.drive.publishing import waiting
from batten.errors import FailedRunError, RefusedError, StorageError
from batten.executors import serial
from batten.executors.serial import SerialExecutor
from batten.pipeline.pipeline import Pipeline
from batten.storage.changing import steps
from batten.work import bench, work_sizes

Item = dict[str, Any]


class Killed(BaseException):
    pass


def kill_before(step: str, part: str) -> Callable[[str, str, str], None]:
    def kill(moment: str, now: str, name: str) -> None:
        if (moment, now) == ("before", step) and part in name:
            raise Killed

    return kill


def read(folder: Path) -> dict[str, Any]:
    rows = batten.open(folder, allow_incomplete=True).to_arrow().to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["text"] for row in rows}


def test_changed_items_of_a_job_that_fails_keep_their_rows(tmp_path: Path) -> None:
    """They were quarantined one by one, and their rows went, until enough had failed to stop."""
    away = tmp_path / "away"

    def work(item: Item) -> Item:
        if away.exists():
            raise ConnectionError("nobody answers")
        return {"text": item["text"]}

    def run(word: str) -> batten.Report:
        items = [{"id": f"i{number:02}", "text": f"{word} {number}"} for number in range(30)]
        made = batten.from_items(items, key="id").map(work, version="1").options(batch_size=2)
        return made.write_parquet(tmp_path / "out").run(executor="serial")

    run("old")
    before = read(tmp_path / "out")
    away.touch()
    for _ in range(2):
        with pytest.raises(FailedRunError):
            run("new")
        assert read(tmp_path / "out") == before
        assert not list((tmp_path / "out.batten/quarantine").iterdir())
    away.unlink()
    assert run("new").status == "complete"
    assert set(read(tmp_path / "out").values()) == {f"new {number}" for number in range(30)}


def test_changed_items_of_a_plan_that_was_given_up_are_not_those_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.touch()

    def work(item: Item) -> Item:
        if away.exists():
            raise StorageError("The disk is away.", safe="All is kept.", next="Mount it.")
        return {"text": item["text"]}

    def run(word: str, version: str) -> batten.Report:
        def generate() -> Iterator[Item]:
            yield from ({"id": f"i{number}", "text": word} for number in range(4))

        made = batten.from_items(generate(), key="id").map(work, version=version)
        return made.write_parquet(tmp_path / "out").run(executor="serial")

    for word in ("first", "second"):
        with pytest.raises(StorageError):
            run(word, "1")
    assert (tmp_path / "out.batten/plan/000000.values").exists()
    with monkeypatch.context() as killing:
        killing.setattr(steps, "observer", kill_before("delete", "plan/000000.values"))
        with pytest.raises(Killed):
            run("last", "2")
    away.unlink()
    run("last", "2")
    assert read(tmp_path / "out") == {f"i{number}": "last" for number in range(4)}


def test_what_changes_while_it_is_retried_is_refused_by_a_table_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(item: Item) -> Item:
        return {"text": item["text"].strip()}

    def make(texts: tuple[Any, ...]) -> Pipeline:
        items = [{"id": f"i{number}", "text": text} for number, text in enumerate(texts)]
        made = batten.from_items(items, key="id").map(work, version="1").options(batch_size=4)
        return made.write_sqlite(tmp_path / "rows.db", "rows")

    def ask() -> list[Any]:
        connection = sqlite3.connect(tmp_path / "rows.db")
        found = connection.execute("SELECT * FROM rows ORDER BY 1").fetchall()
        connection.close()
        return found

    make(("a", "b", None)).run(executor="serial")
    before = ask()
    with monkeypatch.context() as killing:
        killing.setattr(bench.Bench, "work", _end)
        with pytest.raises(Killed):
            make(("a", "b", None)).run(executor="serial", retry_quarantined=True)
    assert list(tmp_path.glob("*/recompute/*"))
    for _ in range(2):
        with pytest.raises(RefusedError, match="can't be told from others"):
            make(("a", "other", None)).run(executor="serial")
        assert ask() == before
    make(("a", "b", None)).run(executor="serial")
    assert ask() == before


def _end(*_: object) -> None:
    raise Killed


class Backwards(SerialExecutor):
    """Of three tasks in hand it does the last first, as workers may."""

    slots = 3

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        self._tasks.appendleft((task_id, task))


def test_what_was_staged_whole_and_does_not_fit_waits_for_what_the_job_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was quarantined as soon as nothing else was staged whole."""
    mended = tmp_path / "mended"

    def work(number: int) -> Item:
        return {"value": number if number < 10 or mended.exists() else f"text {number}"}

    def run() -> batten.Report:
        made = batten.from_range(30).map(work, version="1").options(batch_size=10)
        return made.write_parquet(tmp_path / "out").run(executor="serial")

    monkeypatch.setattr(bench, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(work_sizes, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", float("inf"))
    with monkeypatch.context() as killing:
        killing.setattr(serial, "SerialExecutor", Backwards)
        killing.setattr(steps, "observer", kill_before("replace.rename", "000000-sealed"))
        with pytest.raises(Killed):
            run()
    staged = tmp_path / "out.batten/staged"
    assert not list(staged.glob("*-sealed-*"))
    for each in staged.glob("000002-*"):
        each.unlink()
    assert list(staged.glob("000001-*.arrow"))
    with pytest.raises(FailedRunError):
        run()
    assert not list((tmp_path / "out.batten/quarantine").iterdir())
    mended.touch()
    assert run().status == "complete"
    assert batten.open(tmp_path / "out").to_arrow().num_rows == 30
