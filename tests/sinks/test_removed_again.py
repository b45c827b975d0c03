"""Items go in two runs, the second of which is killed at any of its calls. Afterwards the source
stays, or changes once more. Parts, file and table hold what the source holds at the end."""

from __future__ import annotations

import csv
import json
import random
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.sweeping import KILLS, Experiment, Trail, disturb
from batten.inspect.verifying.verify import verify

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

BATTEN = str(Path(sys.executable).with_name("batten"))
COMMAND = ["run", "job.py", "--jobs", "1", "--quiet"]

JOB = """
    import batten

    def keep(row):
        return {"name": row["name"]}

    items = batten.from_jsonl("items.jsonl", key="id", removed="drop")
    made = items.map(keep).options(batch_size=4).write_parquet("out/").write_csv("out.csv")
    pipeline = made
"""

BEGUN = {f"i{number}": "first" for number in range(10)}
ONCE = {key: name for key, name in BEGUN.items() if key != "i2"}
TWICE = {key: name for key, name in ONCE.items() if key not in ("i1", "i9")} | {"i5": "second"}
AGAIN = {key: name for key, name in TWICE.items() if key != "i6"} | {
    "i2": "back",
    "i5": "third",
    "new": "first",
}
"""Another one is gone, one is back, and one has changed once more."""


def write(folder: Path, rows: dict[str, str]) -> None:
    lines = [json.dumps({"id": key, "name": name}) for key, name in rows.items()]
    (folder / "items.jsonl").write_text("".join(f"{line}\n" for line in lines))


def read_source(folder: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    return sorted((row["id"], row["name"]) for row in rows)


def read_all(folder: Path, lab: Lab) -> list[list[tuple[str, str]]]:
    """What the parts, the file and the table hold."""
    with (folder / "out.csv").open() as file:
        lines = list(csv.DictReader(file))
    held = [batten.open(folder / "out").to_arrow().to_pylist(), lines, lab.read()]
    return [sorted((row["key"], row["name"]) for row in rows) for rows in held]


def begin(folder: Path, lab: Lab) -> None:
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key text PRIMARY KEY, name text")
    call = lab.call.replace(', ledger="rows"', "")[:-1] + ', key="key")'
    (folder / "job.py").write_text(textwrap.dedent(JOB).rstrip() + call + "\n")
    for rows in (BEGUN, ONCE):
        write(folder, rows)
        done = lab.command(*COMMAND)
        assert done.returncode == 0, done.stderr
        assert read_all(folder, lab) == [read_source(folder)] * 3
    write(folder, TWICE)


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(10, marks=pytest.mark.crash)])
@pytest.mark.parametrize("later", [None, AGAIN], ids=["stays", "changes again"])
def test_killed_around_any_call_of_the_second_removal(
    later: dict[str, str] | None,
    sample: int,
    make_lab: MakeLab,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    labs: dict[Path, Lab] = {}

    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        begin(folder, labs.setdefault(folder, make_lab(folder)))

    def check_always(folder: Path, trail: Trail) -> None:
        last = trail.last
        assert (last.returncode < 0 and last.fault is not None) or last.returncode == 0, last.stderr
        check_unharmed(folder / "out")
        if last.returncode < 0 and later is not None:
            write(folder, later)

    def check(folder: Path, trail: Trail) -> None:
        assert read_all(folder, labs[folder]) == [read_source(folder)] * 3
        found = batten.diagnose(folder / "out")
        assert (found.state, found.items.committed) == ("COMPLETE", len(read_source(folder)))
        assert verify(folder / "out").is_sound

    experiment = Experiment(
        prepare=prepare,
        command=lambda folder: [BATTEN, *COMMAND],
        folders=lambda folder: [folder],
        check=check,
        check_always=check_always,
        is_forked=True,
    )
    disturb(experiment, tmp_path, seeded=seeded, faults=KILLS, sample=sample)
