"""The finished command that writes to a table, killed around its system calls, and in the rerun:
readers see whole batches, each once, and the next run is done.

There are hundreds of calls, and each try takes seconds: the complete sweep is a sample, too."""

from __future__ import annotations

import errno
import random
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.faults import Fail
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import Experiment, Trail, disturb, sweep
from batten.crashlab.tracing.system_calls import TAKING_SPACE

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
BATCH = 4
ITEMS = 10
BROKEN = (1, 5, 9)
EXIT_QUARANTINED = 3
EXIT_ENVIRONMENT = 7

JOB = """
    from pathlib import Path

    import batten

    def name(number):
        if number in (1, 5, 9) and Path("broken").exists():
            raise ValueError(f"{number} is broken")
        return {"name": f"n{number}"}

    made = batten.from_range(10).map(name).options(batch_size=4)
    pipeline = made.write_parquet("rows")
"""

FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.EIO),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
    AtEachPlace(partial(Fail, error=errno.ENOSPC, times=None, kinds=TAKING_SPACE)),
]

LOADED = """
    import batten

    def name(item):
        return {"name": item["name"]}

    items = [{"id": n, "name": f"WORD {n}"} for n in range(COUNT)]
    made = batten.from_items(items, key="id", removed="drop").map(name).options(batch_size=4)
    pipeline = made"""
FEWER = 6
MODES: dict[str, tuple[str, list[str], int]] = {
    "replace": ('mode="replace"', ["--fresh"], ITEMS),
    "replace fewer": ('mode="replace"', [], FEWER),
    "replace where": ('mode="replace", where={"day": "1"}', ["--fresh"], ITEMS),
    "merge": ('mode="merge", key="key"', [], ITEMS),
}
"""What the job says, the words of the command, and how many items there are then."""


class Subject:
    """A table for each folder that an experiment runs in. With `is_retry` it has all rows but those
    of some items that failed, and these are tried again."""

    def __init__(
        self, make_lab: MakeLab, *, codes: Sequence[int] = (0,), is_retry: bool = False
    ) -> None:
        self._is_retry = is_retry
        self._command = ["run", "job.py", "--jobs", "1", "--quiet"]
        self._make_lab = make_lab
        self._labs: dict[Path, Lab] = {}
        self._codes = codes

    def prepare(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = self._labs[folder] = self._make_lab(folder)
        text = textwrap.dedent(JOB).rstrip() + lab.call.replace(', ledger="rows"', "") + "\n"
        (folder / "job.py").write_text(text)
        if self._is_retry:
            (folder / "broken").touch()
            first = lab.command(*self._command)
            assert first.returncode == EXIT_QUARANTINED, first.stderr
            (folder / "broken").unlink()

    def check_end(self, trail: Trail) -> None:
        last = trail.last
        assert (last.returncode < 0 and last.fault is not None) or last.returncode in self._codes
        assert "Traceback" not in last.stderr, last.stderr

    def check_always(self, folder: Path, trail: Trail) -> None:
        self.check_end(trail)
        check_unharmed(folder / "rows")
        keys = [row["key"] for row in self._labs[folder].read()]
        for start in range(0, ITEMS, BATCH):
            batch = range(start, min(start + BATCH, ITEMS))
            found = [key for key in keys if key in batch]
            before = [key for key in batch if key not in BROKEN] if self._is_retry else []
            assert found in (before, list(batch)), keys
        assert self._is_retry or keys == list(range(len(keys)))

    def check(self, folder: Path, trail: Trail) -> None:
        found = self._labs[folder].read()
        assert found == [{"key": number, "name": f"n{number}"} for number in range(ITEMS)]
        assert batten.diagnose(folder / "rows").state == "COMPLETE"

    def list_words(self) -> list[str]:
        return ["--retry-quarantined"] if self._is_retry else []

    def experiment(self) -> Experiment:
        command = [BATTEN, *self._command, *self.list_words()]
        return Experiment(
            prepare=self.prepare,
            command=lambda folder: command,
            folders=lambda folder: [
                *(folder / "rows", folder / "rows.batten"),
                *self._labs[folder].folders,
            ],
            check=self.check,
            check_always=self.check_always,
            is_forked=True,
        )


class LoadedSubject(Subject):
    """A table that has rows, which all take the place of others at once, or batch by batch."""

    def __init__(self, make_lab: MakeLab, mode: str, *, codes: Sequence[int] = (0,)) -> None:
        super().__init__(make_lab, codes=codes)
        self._options, self._words, self._count = MODES[mode]
        self._is_at_once = mode != "merge"

    def prepare(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = self._labs[folder] = self._make_lab(folder)
        call = lab.call.replace(', ledger="rows"', "").removesuffix(")")
        text = f'{textwrap.dedent(LOADED)}{call}, ledger="rows", {self._options})\n'
        (folder / "job.py").write_text(text.replace("WORD", "old").replace("COUNT", str(ITEMS)))
        first = lab.command(*self._command)
        assert first.returncode == 0, first.stderr
        now = text.replace("WORD", "new").replace("COUNT", str(self._count))
        (folder / "job.py").write_text(now)

    def check_always(self, folder: Path, trail: Trail) -> None:
        self.check_end(trail)
        check_unharmed(folder / "rows")
        names = sorted(row["name"] for row in self._labs[folder].read())
        batches = [range(start, min(start + BATCH, ITEMS)) for start in range(0, ITEMS, BATCH)]
        for batch in [range(ITEMS)] if self._is_at_once else batches:
            found = [name for name in names if int(name.split()[1]) in batch]
            before = [f"old {n}" for n in batch]
            assert found in (before, [f"new {n}" for n in batch if n < self._count]), names

    def check(self, folder: Path, trail: Trail) -> None:
        found = sorted(row["name"] for row in self._labs[folder].read())
        assert found == [f"new {number}" for number in range(self._count)]
        assert batten.diagnose(folder / "rows").state == "COMPLETE"

    def list_words(self) -> list[str]:
        return self._words


@pytest.mark.parametrize("sample", [1, pytest.param(12, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, pytest.param(True, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    sample: int,
    is_twice: bool,
    make_lab: MakeLab,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    disturb(
        Subject(make_lab).experiment(),
        tmp_path,
        seeded=seeded,
        sample=sample,
        is_twice=is_twice,
    )


@pytest.mark.parametrize("sample", [1, pytest.param(12, marks=pytest.mark.crash)])
def test_killed_while_items_are_tried_again(
    sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    """Also between the part of a batch, which is replaced, and its rows in the table."""
    disturb(
        Subject(make_lab, is_retry=True).experiment(),
        tmp_path,
        seeded=seeded,
        sample=sample,
    )


@pytest.mark.crash
@pytest.mark.parametrize("sample", [30])
def test_a_call_fails(
    sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        Subject(make_lab, codes=(0, EXIT_ENVIRONMENT)).experiment(),
        tmp_path / "sweep",
        faults=FAILURES,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


LABS_OF_MODES = [
    "sqlite",
    *[pytest.param(kind, marks=pytest.mark.crash) for kind in ("postgres", "delta", "iceberg")],
]


@pytest.mark.parametrize("make_lab", LABS_OF_MODES, indirect=True)
@pytest.mark.parametrize("sample", [2, pytest.param(10, marks=pytest.mark.crash)])
@pytest.mark.parametrize("mode", MODES)
def test_killed_while_rows_take_the_place_of_others(
    mode: str, sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = LoadedSubject(make_lab, mode).experiment()
    disturb(experiment, tmp_path, seeded=seeded, sample=sample)


@pytest.mark.parametrize("make_lab", LABS_OF_MODES, indirect=True)
@pytest.mark.parametrize("sample", [2, pytest.param(10, marks=pytest.mark.crash)])
@pytest.mark.parametrize("mode", MODES)
def test_a_call_fails_while_rows_take_the_place_of_others(
    mode: str, sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = LoadedSubject(make_lab, mode, codes=(0, EXIT_ENVIRONMENT)).experiment()
    disturb(experiment, tmp_path, seeded=seeded, faults=FAILURES, sample=sample)
