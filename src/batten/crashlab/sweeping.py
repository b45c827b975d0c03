"""Disturb a command at each of its system calls, run it again until it is done, check what is left.

    experiment = Experiment(
        prepare=fill,                        # fills a fresh folder
        command=lambda folder: ["batten", "run", str(folder / "job.py")],
        folders=lambda folder: [folder / "out", folder / "out.batten"],
        check=check,                         # check(folder, trail): raises AssertionError
    )
    report = sweep(experiment, workspace, faults=[KillBefore, partial(Fail, error=errno.EIO)])
    report.raise_on_failures()

A failure names the exact faults; `run_trail(experiment, folder, faults)` repeats them.
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from batten.crashlab.faults import Fault
from batten.crashlab.laboratory import Traced, run_traced
from batten.crashlab.system_calls import CHANGING, Kind

MakeFault = Callable[[int], Fault]


class TrailError(Exception):
    """The command did not finish, although it was left alone."""


@dataclass(frozen=True)
class Trail:
    """The runs of a command in one folder: the disturbed ones first, then the undisturbed."""

    runs: tuple[Traced, ...] = ()

    @property
    def last(self) -> Traced:
        return self.runs[-1]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A command, a folder for it to run in, and what must hold whenever it says that it is done.

    `check` is called after every run that exits with one of `done_codes`, the disturbed ones
    included: an error that was tolerated must not have cost anything. `check_always` is called
    after every run, whatever became of it. Both must be safe to call from several threads.
    """

    prepare: Callable[[Path], None]
    command: Callable[[Path], Sequence[str]]
    folders: Callable[[Path], Sequence[Path]]
    check: Callable[[Path, Trail], None]
    check_always: Callable[[Path, Trail], None] = lambda folder, trail: None
    done_codes: frozenset[int] = frozenset({0})
    kinds: frozenset[Kind] = CHANGING
    environment: Mapping[str, str] | None = None
    timeout_seconds: float = 60.0
    undisturbed_runs_max: int = 2


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Faults after which a check failed, the folder as it was left, and the runs."""

    faults: tuple[Fault, ...]
    folder: Path
    reason: str
    trail: Trail

    def __str__(self) -> str:
        lines = [f"{list(self.faults)}", f"  left in {self.folder}", f"  {self.reason}"]
        lines += [f"  exit {run.returncode}, hit {run.hit}" for run in self.trail.runs]
        lines += [f"  | {line}" for line in self.trail.last.stderr.splitlines()[-8:]]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """How many points were tried, how many of them were hit, and what failed."""

    seed: int
    points: int
    hit: int
    failures: tuple[Failure, ...]
    seconds: float

    def __str__(self) -> str:
        head = f"{self.points} points, {self.hit} hit, {len(self.failures)} failed"
        timing = f"seed {self.seed}, {self.seconds:.1f} s"
        return "\n".join([f"{head} ({timing})", *(str(each) for each in self.failures)])

    def raise_on_failures(self) -> None:
        if self.failures:
            raise AssertionError(str(self))


def run_trail(
    experiment: Experiment, folder: Path, faults: Sequence[Fault]
) -> tuple[Trail, str | None]:
    """Prepare the folder, run once under each fault, then undisturbed until done, at least once.

    The second value says what went wrong, or is None.
    """
    folder.mkdir(parents=True)
    trail = Trail()
    try:
        experiment.prepare(folder)
        for fault in faults:
            trail = _run(experiment, folder, trail, fault)
        for _ in range(experiment.undisturbed_runs_max):
            trail = _run(experiment, folder, trail, None)
            if trail.last.returncode in experiment.done_codes:
                return trail, None
    except (AssertionError, TrailError) as error:
        return trail, f"{type(error).__name__}: {error}"
    return trail, f"not done after {experiment.undisturbed_runs_max} undisturbed runs"


def _run(experiment: Experiment, folder: Path, trail: Trail, fault: Fault | None) -> Trail:
    run = run_traced(
        experiment.command(folder),
        folders=experiment.folders(folder),
        fault=fault,
        kinds=experiment.kinds,
        environment=experiment.environment,
        working_folder=folder,
        timeout_seconds=experiment.timeout_seconds,
    )
    trail = Trail((*trail.runs, run))
    if run.is_timed_out:
        raise TrailError(f"still running after {experiment.timeout_seconds} s")
    experiment.check_always(folder, trail)
    if run.returncode in experiment.done_codes:
        experiment.check(folder, trail)
    return trail
