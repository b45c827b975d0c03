"""A source without keys: rows may be added at its end, and nothing else may have changed."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.cli.main import main
from batten.run.progress import Silent

Rows = Sequence[dict[str, Any]]


def _rows(*numbers: int) -> list[dict[str, Any]]:
    """Each larger than what a file that is open is read ahead."""
    return [{"n": str(n), "text": f"row {n}" * 5000} for n in numbers]


def _write_jsonl(folder: Path, rows: Rows) -> None:
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_csv(folder: Path, rows: Rows) -> None:
    with (folder / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["n", "text"])
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(folder: Path, rows: Rows) -> None:
    table = pa.Table.from_pylist(list(rows))
    pq.write_table(
        table, folder / "in.parquet", row_group_size=2, compression="none", use_dictionary=False
    )


def _write_parts(folder: Path, rows: Rows) -> None:
    (folder / "in").mkdir(exist_ok=True)
    for place in range(0, len(rows), 2):
        table = pa.Table.from_pylist(list(rows[place : place + 2]))
        pq.write_table(table, folder / "in" / f"{place}.parquet")


def _write_nothing(folder: Path, rows: Rows) -> None:
    pass


Write = Callable[[Path, Rows], None]
Begin = Callable[[Path, Rows], batten.Pipeline]
KINDS: dict[str, tuple[Write, Begin]] = {
    "jsonl": (_write_jsonl, lambda folder, _: batten.from_jsonl(folder / "in.jsonl")),
    "csv": (_write_csv, lambda folder, _: batten.from_csv(folder / "in.csv")),
    "parquet": (_write_parquet, lambda folder, _: batten.from_parquet(folder / "in.parquet")),
    "parts": (_write_parts, lambda folder, _: batten.from_parquet(folder / "in")),
    "list": (_write_nothing, lambda _, rows: batten.from_items(list(rows))),
    "callable": (_write_nothing, lambda _, rows: batten.from_items(lambda: iter(rows))),
}


def _work(row: dict[str, Any]) -> dict[str, Any]:
    """At the row that the environment names, it fails, or has the source changed."""
    if str(row["n"]) == os.environ.get("FAIL_AT"):
        raise ValueError(row)
    if str(row["n"]) == os.environ.get("CHANGE_AT"):
        KINDS[os.environ["KIND"]][0](Path(os.environ["FOLDER"]), _rows(1, 2, 3, 9, 5, 6))
    return {"n": int(row["n"])}


class Job:
    """A job over one kind of source, in a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self._write, self._begin = KINDS[kind]

    def run(self, rows: Rows, **options: Any) -> Any:
        self._write(self.folder, rows)
        return self.run_again(rows, **options)

    def run_again(self, rows: Rows = (), *, on_error: Any = None, **options: Any) -> Any:
        started = self._begin(self.folder, rows).map(_work)
        started = started.options(batch_size=2, on_error=on_error)
        pipeline = started.write_parquet(self.folder / "out")
        return pipeline.run(executor="serial", **options)

    @property
    def numbers(self) -> list[int]:
        parts = sorted((self.folder / "out").glob("*.parquet"))
        return [n for part in parts for n in pq.read_table(part).column("n").to_pylist()]


@pytest.fixture(params=KINDS)
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    return Job(tmp_path, request.param)


CHANGES = {
    "put in front": ([0, 1, 2, 3], 1),
    "put in between": ([1, 2, 9, 3], 3),
    "another one": ([1, 9, 3], 2),
    "exchanged": ([1, 3, 2], 2),
    "the last one": ([1, 2, 9, 4, 5], 3),
    "taken out": ([1, 3, 4, 5, 6], 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_is_another_is_refused(job: Job, change: str) -> None:
    numbers, row = CHANGES[change]
    job.run(_rows(1, 2, 3))
    match = f"row {row} is not what it was when it was planned"
    for options in ({}, {"retry_quarantined": True}, {"limit": 2}, {"dry_run": True}):
        with pytest.raises(batten.RefusedError, match=match) as refused:
            job.run(_rows(*numbers), **options)
        assert "fresh=True" in refused.value.next
    assert job.numbers == [1, 2, 3]
    assert job.run(_rows(*numbers), fresh=True, dry_run=True).status == "planned"
    assert job.run(_rows(*numbers), fresh=True).status == "complete"
    assert job.numbers == numbers


def test_rows_that_are_gone_are_refused(job: Job) -> None:
    job.run(_rows(1, 2, 3, 4))
    for part in (job.folder / "in").glob("2.parquet"):
        part.unlink()
    with pytest.raises(batten.RefusedError, match="The source has 2 items, but 4 are planned"):
        job.run(_rows(1, 2))
    assert job.numbers == [1, 2, 3, 4]


def test_rows_at_the_end_are_added(job: Job) -> None:
    job.run(_rows(1, 2, 3))
    assert job.run(_rows(1, 2, 3)).status == "nothing-to-do"
    report = job.run(_rows(1, 2, 3, 4, 5))
    assert (report.status, report.executed_items) == ("complete", 2)
    assert job.run(_rows(1, 2, 3, 4, 5, 6), limit=6).executed_items == 1
    assert job.numbers == [1, 2, 3, 4, 5, 6]


def test_an_unfinished_run_goes_on_only_with_the_same_rows(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "3")
    with pytest.raises(batten.FailedRunError):
        job.run(_rows(1, 2, 3, 4), on_error="raise")
    monkeypatch.delenv("FAIL_AT")
    with pytest.raises(batten.RefusedError, match="row 4 is not what it was"):
        job.run(_rows(1, 2, 3, 9))
    report = job.run(_rows(1, 2, 3, 4))
    assert (report.status, job.numbers) == ("complete", [1, 2, 3, 4])


@pytest.mark.parametrize("job", ["jsonl", "csv", "parquet", "parts"], indirect=True)
def test_a_row_that_changes_while_it_is_read_is_not_published(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function itself changes the source, after it was planned."""

    monkeypatch.setenv("CHANGE_AT", "1")
    monkeypatch.setenv("KIND", job.kind)
    monkeypatch.setenv("FOLDER", str(job.folder))
    with pytest.raises(batten.RefusedError, match="is not what it was when it was planned"):
        job.run(_rows(1, 2, 3, 4, 5, 6))
    monkeypatch.delenv("CHANGE_AT")
    assert 9 not in job.numbers
    report = job.run(_rows(1, 2, 3, 4, 5, 6))
    assert (report.status, job.numbers) == ("complete", [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("job", ["jsonl", "csv", "parquet", "parts"], indirect=True)
def test_a_killed_fresh_run_of_rows_that_changed_since_begins_anew(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "8")
    job.run(_rows(1, 2, 3, 4))
    with pytest.raises(batten.FailedRunError):
        job.run(_rows(5, 6, 7, 8), fresh=True, on_error="raise")
    monkeypatch.delenv("FAIL_AT")
    assert job.run(_rows(6, 7, 8, 9), fresh=True).status == "complete"
    assert job.numbers == [6, 7, 8, 9]


@pytest.mark.parametrize("job", ["jsonl", "csv"], indirect=True)
def test_rows_that_only_lie_elsewhere_are_the_same(job: Job) -> None:
    """Other line ends, blank lines, a header in quotes: the items are as planned, at new places."""
    job.run(_rows(1, 2, 3, 4), limit=2)
    path = next(job.folder.glob("in.*"))
    lines = path.read_bytes().splitlines()
    if path.suffix == ".csv":
        lines[0] = b'"n","text"'
    path.write_bytes(b"\r\n\r\n".join([*lines, b""]))
    report = job.run_again()
    assert (report.status, report.executed_items) == ("complete", 2)
    assert job.numbers == [1, 2, 3, 4]


def test_a_line_that_was_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    job = Job(tmp_path, "jsonl")
    path = tmp_path / "in.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n{"n"')
    assert job.run_again().accounts.quarantined == 1
    path.write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n{"n": 4}\n')
    assert job.run_again().executed_items == 1
    report = job.run_again(retry_quarantined=True)
    assert (report.status, report.accounts.quarantined) == ("complete", 0)
    assert sorted(job.numbers) == [1, 2, 3, 4]
    path.write_text('{"n": 1}\n{"n": 9}\n{"n": 3}\n{"n": 4}\n')
    with pytest.raises(batten.RefusedError, match="row 2 is not what it was"):
        job.run_again()


def test_rows_of_a_dataset_of_which_items_were_tried_again(tmp_path: Path) -> None:
    """A dataset is the source of another, and a row that was set aside takes its place in it."""

    def fail(number: int) -> dict[str, Any]:
        if number == 3 and not (tmp_path / "mended").exists():
            raise ValueError(number)
        return {"n": number}

    up = batten.from_range(6).map(fail, version="same").write_parquet(tmp_path / "up")
    down = batten.from_parquet(tmp_path / "up").map(_work).write_parquet(tmp_path / "out")
    up.run(executor="serial")
    down.run(executor="serial")
    (tmp_path / "mended").touch()
    up.run(executor="serial", retry_quarantined=True)
    with pytest.raises(batten.RefusedError, match="row 4 is not what it was") as refused:
        down.run(executor="serial")
    assert "key=" in refused.value.next
    assert Job(tmp_path, "parts").numbers == [0, 1, 2, 4, 5]


def test_a_plan_of_before_digests_is_taken_as_it_is_and_known_from_then_on(tmp_path: Path) -> None:
    """An earlier batten kept no digests: its plans differ in nothing else."""
    job = Job(tmp_path, "jsonl")
    told: list[str] = []

    class Told(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    job.run(_rows(1, 2, 3), limit=2)
    job.run(_rows(1, 2, 3))
    plan = tmp_path / "out.batten" / "plan"
    digests = sorted(plan.glob("*.digests"))
    assert len(digests) == 2
    for path in digests:
        path.unlink()
    assert job.run_again(progress=Told()).status == "nothing-to-do"
    assert [text for text in told if "3 rows" in text and "no digests" in text]
    assert sorted(plan.glob("*.digests")) == digests
    told.clear()
    assert job.run_again(progress=Told()).status == "nothing-to-do"
    assert not told
    with pytest.raises(batten.RefusedError, match="row 3 is not what it was"):
        job.run(_rows(1, 2, 9))


def test_digests_that_were_damaged_are_told_of(tmp_path: Path) -> None:
    job = Job(tmp_path, "csv")
    job.run(_rows(1, 2, 3))
    (path,) = (tmp_path / "out.batten" / "plan").glob("*.digests")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(batten.CorruptError, match="digests was damaged"):
        job.run_again()
    assert main(["verify", str(tmp_path / "out")]) == 4
    os.unlink(path)
    assert job.run_again().status == "nothing-to-do"
