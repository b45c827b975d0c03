"""Jobs put together by chance, whose inputs change between runs that are killed at any step.

Each is held against a model that knows the items, and nothing of files: after a run that ends,
the destination has the rows of these items, and of no others. What one part of batten promises has
tests of its own; this is where the parts meet.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Ended, JobFolder

JOBS_A_TEST = 2
SOUND_STATES = {
    "NEW",
    "INTERRUPTED",
    "RECOVERY_PENDING",
    "COMPLETE",
    "COMPLETE_WITH_ORPHANS",
    "STALE",
}
KILLED = -9

SOURCES = {
    "files": 'batten.from_files("in/*.txt", removed={removed!r})',
    "lines": 'batten.from_jsonl("in.jsonl", key="id", removed={removed!r})',
    "fields": 'batten.from_csv("in.csv", key="id", removed={removed!r})',
    "rows": 'batten.from_parquet("in.parquet", key="id", removed={removed!r})',
    "dataset": 'batten.from_dataset("above", removed={removed!r})',
}
STEPS = {
    "map": ".map(one)",
    "flat_map": ".flat_map(some)",
    "filter": ".filter(is_wanted).map(one)",
    "async": ".map(later, concurrency=3)",
    "workers": ".map(one, concurrency=2)",
    "cache": '.map(one, cache="cache")',
    "batches": ".map(one).map_batches(same)",
}
OUTPUTS = {
    "parts": ("out", '.write_parquet("out")'),
    "divided": ("out", '.write_parquet("out", partition_by="part")'),
    "lines": ("out.jsonl", '.write_jsonl("out.jsonl")'),
    "fields": ("out.csv", '.write_csv("out.csv")'),
    "database": ("out.db", '.write_sqlite("out.db", "rows", key="key")'),
    "delta": ("out", '.write_delta("out", key="key")'),
    "two": ("out", '.write_parquet("out").write_sqlite("two.db", "rows", key="key")'),
}
BY_KEY = ("database", "delta", "two")

JOB = """
FACTOR = {factor}

def read(item):
    if isinstance(item, dict):
        return int(item["value"])
    return int(item.read_text())

def one(item):
    value = read(item)
    if value % 7 == 0:
        raise ValueError("a multiple of seven")
    return {{"made": value * FACTOR, "part": f"p{{value % 3}}"}}

def some(item):
    row = one(item)
    return [row] * (read(item) % 3)

def is_wanted(item):
    return read(item) % 4 != 0

async def later(item):
    return one(item)

def same(table):
    return table

pipeline = {pipeline}.options(stop_when=None{options})
"""
ABOVE = """
def same(item):
    return {"id": item["id"], "value": item["value"]}

pipeline = (
    batten.from_jsonl("above.jsonl", key="id", removed="drop").map(same)
    .options(batch_size=3, schema={"id": "string", "value": "int64"}).write_parquet("above")
)
"""


@dataclass
class Chance:
    """A job, its items as the source has them, and as the dataset is to have them: each with its
    value, and the factor that the job had when it was computed."""

    draw: random.Random
    folder: JobFolder
    source: str
    step: str
    output: str
    removed: str
    options: str
    factor: int = 2
    there: dict[str, int] = field(default_factory=dict)
    wanted: dict[str, tuple[int, int]] = field(default_factory=dict)
    added: int = 0
    told: list[str] = field(default_factory=list)

    def change(self) -> None:
        """Something happens to a few items, or to none. They never go all at once: that would be
        refused."""
        for _ in range(self.draw.randrange(4)):
            act = self.draw.choice(("add", "add", "change", "remove"))
            if act == "add" or not self.there:
                self.there[f"k{self.added:03}"] = self.draw.randrange(1, 60)
                self.added += 1
            elif act == "change":
                self.there[self.draw.choice(sorted(self.there))] = self.draw.randrange(1, 60)
            elif len(self.there) > 1:
                del self.there[self.draw.choice(sorted(self.there))]

    def write(self) -> None:
        """The source as it is now, and the job."""
        path, rows = self.folder.path, [{"id": k, "value": v} for k, v in self.there.items()]
        match self.source:
            case "files":
                self._write_files(path / "in")
            case "lines" | "dataset":
                name = "in.jsonl" if self.source == "lines" else "above.jsonl"
                (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
            case "fields":
                with (path / "in.csv").open("w", newline="") as file:
                    writer = csv.DictWriter(file, ["id", "value"])
                    writer.writeheader()
                    writer.writerows(rows)
            case "rows":
                schema = pa.schema([("id", pa.string()), ("value", pa.int64())])
                table = pa.Table.from_pylist(rows, schema=schema)
                pq.write_table(table, path / "in.parquet", row_group_size=3)
        if self.source == "dataset":
            self.folder.write(ABOVE, "above.py")
            above = self.folder.run("--json", job="above.py")
            assert above.code == 0, above.err
        made = SOURCES[self.source].format(removed=self.removed)
        pipeline = made + STEPS[self.step] + OUTPUTS[self.output][1]
        text = JOB.format(factor=self.factor, pipeline=pipeline, options=self.options)
        self.folder.write(text)

    def _write_files(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for gone in {path.stem for path in folder.iterdir()} - self.there.keys():
            (folder / f"{gone}.txt").unlink()
        for key, value in self.there.items():
            path = folder / f"{key}.txt"
            if not path.exists() or path.read_text() != str(value):
                path.write_text(str(value))
                # By its time alone a change is seen, and two within a tick are one.
                self.added += 1
                os.utime(path, (self.added, self.added))

    def expect(self) -> None:
        """What a run is to make of it. What failed is computed again if the job has changed."""
        gone = self.wanted.keys() - self.there.keys() if self.removed == "drop" else ()
        for key in list(gone):
            del self.wanted[key]
        for key, value in self.there.items():
            held = self.wanted.get(key)
            if held is None or held[0] != value or self._make(*held) is None:
                self.wanted[key] = (value, self.factor)

    def _make(self, value: int, factor: int) -> list[int] | None:
        """What the rows of an item hold; None if it fails."""
        if self.step == "filter" and value % 4 == 0:
            return []
        if value % 7 == 0:
            return None
        return [value * factor] * (value % 3 if self.step == "flat_map" else 1)

    def run(self, *options: str) -> None:
        """Runs that are killed, and one that ends; then all is looked at."""
        for _ in range(self.draw.choice((0, 0, 1, 2, 3))):
            step = self.draw.randrange(1, self.draw.choice((12, 60, 200)))
            at = f"{step}:{self.draw.choice(('before', 'after'))}"
            killed = self._batten("run", "job.py", *options, BATTEN_CRASH_AT=at)
            if killed.code != KILLED:
                break
            self._look(killed)
        ended = self._batten("run", "job.py", "--json", *options)
        made = {key: self._make(*held) for key, held in self.wanted.items()}
        failed = {key for key, rows in made.items() if rows is None}
        assert ended.code == (3 if failed else 0), (self.told, ended.err)
        rows = sorted((key, row) for key, held in made.items() for row in held or ())
        assert self._read() == rows, self.told
        report = json.loads(ended.out)
        assert report["items"]["quarantined"] == len(failed), (self.told, report)
        found = json.loads(self._batten("diagnose", self.path, "--json").out)
        assert (found["state"], found["rows"]) == ("COMPLETE", len(rows)), (self.told, found)
        verified = self._batten("verify", self.path)
        assert verified.code == 0, (self.told, verified.out)

    def _look(self, killed: Ended) -> None:
        """What a person may do after a kill."""
        match self.draw.choice(("diagnose", "recover", "clean", "nothing")):
            case "diagnose":
                found = json.loads(self._batten("diagnose", self.path, "--json").out)
                assert found["state"] in SOUND_STATES, (self.told, found)
            case "recover" | "clean" as command:
                done = self._batten(command, self.path)
                # 2: there is nothing yet.
                assert done.code in (0, 2), (self.told, done.out, done.err)

    @property
    def path(self) -> str:
        return OUTPUTS[self.output][0]

    def _batten(self, *words: str, **environment: str) -> Ended:
        self.told.append(" ".join([*words, *environment.values()]))
        if not environment:
            return self.folder.batten(*words)
        folder = self.folder
        ended = type(folder)(folder.path, is_executed=True).batten(*words, **environment)
        assert ended.code in (KILLED, 0, 3), (self.told, ended.err)
        return ended

    def _read(self) -> list[tuple[str, int]]:
        path = self.folder.path
        found: Iterable[Any]
        match self.output:
            case "parts" | "divided":
                found = _read_parts(path / "out")
            case "lines":
                found = map(json.loads, (path / "out.jsonl").read_text().splitlines())
            case "fields":
                with (path / "out.csv").open() as file:
                    found = list(csv.DictReader(file))
            case "database":
                found = _read_database(path / "out.db")
            case "delta":
                found = _read_delta(path / "out")
            case _:
                found = _read_parts(path / "out")
                other = _read_database(path / "two.db")
                assert _as_pairs(found) == _as_pairs(other), self.told
        return _as_pairs(found)


def _as_pairs(rows: Iterable[Any]) -> list[tuple[str, int]]:
    return sorted((row["key"].removesuffix(".txt"), int(row["made"])) for row in rows)


def _read_parts(folder: Path) -> list[Any]:
    files = sorted(folder.rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def _read_database(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
            return []
        return connection.execute("SELECT * FROM rows").fetchall()
    finally:
        connection.close()


def _read_delta(folder: Path) -> list[Any]:
    if not (folder / "_delta_log").exists():
        return []
    rows: list[Any] = deltalake.DeltaTable(folder).to_pyarrow_table().to_pylist()
    return rows


def draw_job(draw: random.Random, folder: JobFolder) -> Chance:
    output = draw.choice(sorted(OUTPUTS))
    # Of rows with the same key a table holds the last.
    steps = [step for step in sorted(STEPS) if step != "flat_map" or output not in BY_KEY]
    size = draw.choice(("", *(f", batch_size={number}" for number in (1, 2, 3, 5, 8))))
    schema = draw.choice(("", ', schema={"made": "int64", "part": "string"}'))
    return Chance(
        draw=draw,
        folder=folder,
        source=draw.choice(sorted(SOURCES)),
        step=draw.choice(steps),
        output=output,
        removed=draw.choice(("keep", "drop")),
        options=size + schema,
    )


def live(chance: Chance) -> None:
    """A first run, and some more after changes of the source and of the job."""
    for turn in range(chance.draw.randrange(1, 5)):
        chance.change()
        is_other = turn > 0 and chance.draw.random() < 0.2
        chance.factor = 5 - chance.factor if is_other else chance.factor
        chance.write()
        chance.expect()
        chance.run(*(("--accept-change",) if is_other else ()))


def live_some(job: JobFolder, draw: random.Random, jobs: int) -> None:
    for number in range(jobs):
        path = job.path / str(number)
        path.mkdir()
        live(draw_job(draw, type(job)(path)))


@pytest.mark.parametrize("number", range(3))
def test_the_destination_has_the_rows_of_the_items_that_are_wanted(
    number: int, job: JobFolder, seeded: random.Random
) -> None:
    live_some(job, seeded, JOBS_A_TEST)


@pytest.mark.crash
@pytest.mark.parametrize("number", range(20))
def test_many_destinations_have_the_rows_that_are_wanted(
    number: int, job: JobFolder, seeded: random.Random
) -> None:
    live_some(job, seeded, 10)
