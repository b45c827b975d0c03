"""Whole outputs between two steps: what is recorded of them, and what lies there.

While accounts are open, both are a run that was cut off. Once they are closed, neither can be.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import batten
from batten.crashlab.promises import UNHARMED
from batten.errors import InconsistentError, RefusedError, StorageError
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Lab


def give(number: int) -> dict[str, Any]:
    return {"kind": "ab"[number % 2], "value": number}


def name(number: int) -> dict[str, Any]:
    return {"name": f"n{number}"}


def rows(count: int) -> Pipeline:
    return batten.from_range(count).map(give).options(batch_size=3)


def as_they_are(rows: pa.Table) -> pa.Table:
    return rows


def table(folder: Path, count: int) -> Any:
    text = "".join(f"{number},x\n" for number in range(count))
    (folder / "rows.csv").write_text(f"value,kind\n{text}")
    return batten.from_tables(rows=folder / "rows.csv").apply(as_they_are)


Make = Callable[[Path, int], Any]
"""The job of so many items or rows, which writes to `out` or `out.parquet` in the folder."""

MAKERS: dict[str, Make] = {
    "csv": lambda folder, count: rows(count).write_csv(folder / "out"),
    "jsonl": lambda folder, count: rows(count).write_jsonl(folder / "out"),
    "parquet": lambda folder, count: table(folder, count).write_parquet(folder / "out.parquet"),
    "hive": lambda folder, count: rows(count).write_parquet(folder / "out", partition_by="kind"),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


def make_both(folder: Path, make: Make, old: int) -> Path:
    """The output of seven items, as a run leaves it that dies before the exchange: beside it lies
    the one of now. Without `old` items nothing was there before."""
    if old:
        made = make(folder, old).run(executor="serial").path
        copy(Path(made), folder / "before")
    is_fresh = make is MAKERS["parquet"]  # Another table is another job.
    out = Path(make(folder, 7).run(executor="serial", fresh=is_fresh).path)
    out.rename(folder / "after")
    if old:
        copy(folder / "before", out)
    return out


def copy(path: Path, to: Path) -> None:
    shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to)


def harm(path: Path) -> None:
    found = path if path.is_file() else min(each for each in path.rglob("*.parquet"))
    found.write_bytes(found.read_bytes() + b"x")


@pytest.mark.parametrize("old", [0, 5], ids=["the first", "another one"])
def test_a_record_without_its_exchange_is_resumed(tmp_path: Path, make: Make, old: int) -> None:
    out = make_both(tmp_path, make, old)
    (out.with_name(f"{out.name}.batten") / "COMPLETE").unlink()
    assert batten.diagnose(out).state == "INTERRUPTED"
    assert verify(out).is_sound
    assert make(tmp_path, 7).run(executor="serial").status == "complete"
    assert batten.diagnose(out).state == "COMPLETE"
    assert verify(out).is_sound


def test_an_old_one_under_closed_accounts_is_damage(tmp_path: Path, make: Make) -> None:
    out = make_both(tmp_path, make, old=5)
    assert batten.diagnose(out).state == "INCONSISTENT"
    assert not verify(out).is_sound


def test_one_that_is_neither_is_damage_whether_accounts_are_closed_or_not(
    tmp_path: Path, make: Make
) -> None:
    out = make_both(tmp_path, make, old=5)
    harm(out)
    assert not verify(out).is_sound
    (out.with_name(f"{out.name}.batten") / "COMPLETE").unlink()
    verification = verify(out)
    assert not verification.is_sound
    assert "move it away" in verification.next
    with pytest.raises(InconsistentError, match="changed by another program"):
        make(tmp_path, 7).run(executor="serial")


def replacing(lab: Lab, count: int) -> Pipeline:
    """All rows of the table are replaced; they become fewer where items go."""
    made = batten.from_items(range(count), key=str, removed="drop").map(name)
    return lab.write(made.options(batch_size=2), mode="replace")


def state_of(lab: Lab) -> str:
    """What is found; of a table that a server has, when that is asked."""
    found = verify(lab.folder / "rows", should_ask=True)
    told = batten.diagnose(lab.folder / "rows").state
    return (
        told
        if lab.kind != "postgres" or found.is_sound
        else f"{told}: {found.damage[0].code.value}"
    )


@pytest.fixture(autouse=True)
def user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks the server."""
    if "lab" in request.fixturenames and (lab := request.getfixturevalue("lab")).kind == "postgres":
        monkeypatch.setenv("PGUSER", lab.ask("SELECT current_user AS name")[0]["name"])


def test_rows_that_took_the_place_of_more_and_are_not_recorded_yet_are_no_loss(lab: Lab) -> None:
    replacing(lab, 7).run(executor="serial")
    control = lab.folder / "rows.batten"
    (record,) = (control / "deliveries").iterdir()
    before = record.read_bytes()
    replacing(lab, 3).run(executor="serial")
    record.write_bytes(before)
    is_asked = lab.kind == "postgres"
    assert state_of(lab) == ("COMPLETE: lacking-rows" if is_asked else "INCONSISTENT")
    (control / "COMPLETE").unlink()
    assert state_of(lab) == "INTERRUPTED"
    assert replacing(lab, 3).run(executor="serial").status == "complete"
    assert state_of(lab) == "COMPLETE"
    assert len(lab.read()) == 3


def lose(lab: Lab) -> None:
    lab.drop()
    lab.forget()


def test_a_replaced_table_that_is_gone_is_filled_by_the_next_run_and_so_it_is_told(
    lab: Lab,
) -> None:
    replacing(lab, 5).run(executor="serial")
    lose(lab)
    verification = verify(lab.folder / "rows", should_ask=True)
    assert [each.code.value for each in verification.damage] == ["lost-whole-table"]
    if lab.kind != "postgres":
        diagnosis = batten.diagnose(lab.folder / "rows")
        assert diagnosis.state == "INTERRUPTED"
        assert diagnosis.next == verification.next
    assert replacing(lab, 5).run(executor="serial").executed_items == 0
    assert state_of(lab) == "COMPLETE"
    assert len(lab.read()) == 5


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_a_replaced_table_of_which_the_tokens_stayed_is_not_filled_and_so_it_is_told(
    lab: Lab,
) -> None:
    """In other tables the tokens go with the rows."""
    replacing(lab, 5).run(executor="serial")
    lab.drop()
    with pytest.raises(InconsistentError, match="batches were published there"):
        replacing(lab, 5).run(executor="serial")
    assert state_of(lab) == ("INCONSISTENT" if lab.kind == "sqlite" else "COMPLETE: lost-table")


class SyncsCounted:
    """Each call of fsync; that with this number fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int | None = None) -> None:
        self.count = 0
        self._failing = failing
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.count == self._failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(descriptor)


@pytest.mark.parametrize("sample", [6, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_whichever_sync_of_a_fresh_run_fails_what_is_there_is_told(
    tmp_path: Path,
    make: Make,
    sample: int | None,
    monkeypatch: pytest.MonkeyPatch,
    seeded: random.Random,
) -> None:
    name = Path(make(ensure(tmp_path / "first"), 5).run(executor="serial").path).name
    copy(tmp_path / "first", tmp_path / "whole")
    with monkeypatch.context() as patch:
        counted = SyncsCounted(patch)
        make(tmp_path / "whole", 5).run(executor="serial", fresh=True)
    numbers = range(1, counted.count + 1)
    for number in numbers if sample is None else seeded.sample(numbers, sample):
        folder = tmp_path / f"failed-{number}"
        copy(tmp_path / "first", folder)
        with monkeypatch.context() as patch, suppress(StorageError):
            SyncsCounted(patch, number)
            make(folder, 5).run(executor="serial", fresh=True)
        assert batten.diagnose(folder / name).state in UNHARMED, number
        assert Path(find_refused(folder / name)).exists(), number
        make(folder, 5).run(executor="serial", fresh=True)
        assert verify(folder / name).is_sound, number


def ensure(folder: Path) -> Path:
    folder.mkdir()
    return folder


def find_refused(output: Path) -> str:
    """What keeps it from being verified; or itself."""
    try:
        verify(output)
    except RefusedError as refused:
        return str(refused).partition(": ")[0]
    return str(output)
