"""Clocks go wrong: the wall clock is written down for people, and nothing is decided by it."""

from __future__ import annotations

import ast
import json
import os
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.inspect.clean import clean_output
from batten.inspect.paths.output_path import locate_output
from batten.inspect.verifying.verify import verify
from batten.model.disk.records import open_record, seal_record
from batten.run import clock

SOURCES = Path(batten.__file__).parent

LAYERS = (
    *("deliver", "drive", "finalize", "jobs", "ledger", "lookup", "pipeline", "plan", "rows"),
    *("executors", "model", "run", "sinks", "sources", "storage", "work"),
)
"""Where what runs a job lies."""

READERS = {
    "run/clock.py": "times in records, and names of runs",
    "jobs/retry.py": "Retry-After may be a date: how long to wait for a server",
    "executors/throttle.py": "Retry-After may be a date: how long to wait for a server",
    "sinks/lakes/delta/actions.py": "entries of Delta's log say when they were made",
    "storage/local/locking/locks.py": "since when a lock is held, as shown",
    "storage/objects/lease.py": "whether a lease seems over, by the time that the store gives",
    "storage/twin/kernel.py": "a file's time of change, as on a disk",
    "storage/twin/memory.py": "a folder's time of change, as on a disk",
    "storage/twin/memory_tree.py": "a folder's time of change, as on a disk",
    "storage/twin/objects.py": "an object's time of change, as a server tells it",
}
"""What reads the wall clock there, and what for."""


def test_who_reads_the_wall_clock() -> None:
    files = [path for layer in LAYERS for path in (SOURCES / layer).rglob("*.py")]
    found = {str(path.relative_to(SOURCES)) for path in files if reads_wall_clock(path)}
    assert found == set(READERS)


def reads_wall_clock(path: Path) -> bool:
    text = path.read_text()
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    asked = {
        "time.time",
        "time.time_ns",
        "time.gmtime",
        "datetime.now",
        "datetime.today",
        "datetime.utcnow",
    }
    return "from time import time\n" in text or not asked.isdisjoint(map(ast.unparse, calls))


class Backwards(datetime):
    """Each time it is asked it is an hour earlier."""

    asked = 0

    @classmethod
    def now(cls, zone: tzinfo | None = None) -> datetime:  # type: ignore[override]
        cls.asked += 1
        return datetime(2026, 11, 21, 8, tzinfo=UTC) - timedelta(hours=cls.asked)


def pipeline(folder: Path, stop: int = 8) -> batten.Pipeline:
    made = batten.from_range(stop).map(lambda number: {"value": number})
    return made.options(batch_size=2).write_parquet(folder / "out")


def read_parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_a_clock_that_runs_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are the same, resumed and extended, and the accounts close."""
    pipeline(tmp_path / "right", 10).run(executor="serial")
    monkeypatch.setattr(clock, "datetime", Backwards)
    wrong = tmp_path / "wrong"
    assert pipeline(wrong).run(executor="serial", limit=4).status == "limited"
    assert pipeline(wrong).run(executor="serial").executed_items == 4
    assert pipeline(wrong, 10).run(executor="serial").executed_items == 2
    assert pipeline(wrong, 10).run(executor="serial").status == "nothing-to-do"
    assert Backwards.asked > 10
    assert read_parts(wrong) == read_parts(tmp_path / "right")
    assert verify(wrong / "out").is_sound
    assert len(batten.open(wrong / "out").runs()) == 3


@pytest.mark.parametrize("year", [1970, 2099])
def test_records_and_files_of_another_time(tmp_path: Path, year: int) -> None:
    """Half of the work was done in a year that is not yet, or long ago."""
    pipeline(tmp_path).run(executor="serial", limit=4)
    control = tmp_path / "out.batten"
    for path in [control / "dataset.json", *(control / "commits").iterdir()]:
        redate(path, year)
    for log in list((control / "runs").iterdir()):
        log.rename(log.with_name(f"{year}{log.name[4:]}"))
    orphan = control / "staging/part-000009.parquet.elsewhere-4711-0a1b2c3d4e5f6071"
    orphan.write_bytes(b"half a file")
    seconds = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    for path in [*tmp_path.rglob("*"), tmp_path]:
        os.utime(path, (seconds, seconds))

    assert batten.diagnose(tmp_path / "out").state == "INTERRUPTED"
    report = pipeline(tmp_path).run(executor="serial")
    assert (report.status, report.executed_items) == ("complete", 4)
    assert not orphan.exists()
    assert verify(tmp_path / "out").is_sound
    orphan.write_bytes(b"half a file")
    os.utime(orphan, (seconds, seconds))
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE_WITH_ORPHANS"
    place = locate_output(tmp_path / "out")
    assert len(clean_output(place, older_than_seconds=0, is_dry_run=False).removed) == 1
    assert pipeline(tmp_path).run(executor="serial").status == "nothing-to-do"


def redate(path: Path, year: int) -> None:
    fields: dict[str, Any] = json.loads(open_record(path.read_bytes()))
    for name in ("time", "created"):
        if name in fields:
            fields[name] = f"{year}{fields[name][4:]}"
    path.write_bytes(seal_record(json.dumps(fields).encode()))
