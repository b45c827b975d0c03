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

import batten
from batten.crashlab.faults import Fail, KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, MakeFault, Trail, sweep
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible
from batten.crashlab.tracing.system_calls import TAKING_SPACE

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

pytestmark = pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))

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

KILLS: list[MakeFault] = [KillBefore, KillAfter, TearWrite]
FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.ENOSPC),
    partial(Fail, error=errno.ENOSPC, times=None, kinds=TAKING_SPACE),
    partial(Fail, error=errno.EIO),
]


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

    def check_always(self, folder: Path, trail: Trail) -> None:
        last = trail.last
        assert (last.returncode < 0 and last.fault is not None) or last.returncode in self._codes
        assert "Traceback" not in last.stderr, last.stderr
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

    def experiment(self) -> Experiment:
        command = [BATTEN, *self._command, *["--retry-quarantined"][: self._is_retry]]
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


@pytest.mark.parametrize("sample", [1, pytest.param(60, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, pytest.param(True, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    sample: int,
    is_twice: bool,
    make_lab: MakeLab,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    report = sweep(
        Subject(make_lab).experiment(),
        tmp_path / "sweep",
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=is_twice,
    )
    report.raise_on_failures()
    assert report.hit


@pytest.mark.parametrize("sample", [1, pytest.param(60, marks=pytest.mark.crash)])
def test_killed_while_items_are_tried_again(
    sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    """Also between the part of a batch, which is replaced, and its rows in the table."""
    report = sweep(
        Subject(make_lab, is_retry=True).experiment(),
        tmp_path / "sweep",
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()
    assert report.hit


@pytest.mark.crash
@pytest.mark.parametrize("sample", [40])
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
