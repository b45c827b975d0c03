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

import errno
import random
import secrets
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from batten.crashlab.faults import Fail, Fault, KillAfter, KillBefore, TearWrite
from batten.crashlab.kept_templates import find_template
from batten.crashlab.points import AtEachPlace, MakeFault, find_points
from batten.crashlab.tracing.laboratory import Traced, run_traced
from batten.crashlab.tracing.starting import Template
from batten.crashlab.tracing.system_calls import CHANGING, TAKING_SPACE, CallKind
from batten.model.value_class import value_class

KILLS: Sequence[MakeFault] = (KillBefore, KillAfter, TearWrite)

DISK_FAILURES: Sequence[MakeFault] = (
    partial(Fail, error=errno.EIO),
    # Only the answer was lost. Of a sync nobody sees whether it was done.
    partial(Fail, error=errno.EIO, is_done=True, kinds=CHANGING - {CallKind.SYNC}),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
    AtEachPlace(partial(Fail, error=errno.ENOSPC, times=None, kinds=TAKING_SPACE)),  # stays full
)

FAILURES: Sequence[MakeFault] = (
    *DISK_FAILURES,
    AtEachPlace(partial(Fail, error=errno.EMFILE, kinds=frozenset({CallKind.OPEN_TO_WRITE}))),
)


@dataclass(frozen=True)
class Trail:
    """The runs of a command in one folder: the disturbed ones first, then the undisturbed."""

    runs: tuple[Traced, ...] = ()

    @property
    def last(self) -> Traced:
        return self.runs[-1]


@value_class
class Experiment:
    """A command, a folder for it to run in, and what must hold whenever it says that it is done.

    `check` is called after every run that exits with one of `done_codes`, the disturbed ones
    included: an error that was tolerated must not have cost anything. `check_always` is called
    after every run, whatever became of it. Both must be safe to call from several threads.

    With `is_forked` the command is one of this Python, and its runs are forked from a process that
    has imported what they import, which is several times as fast.

    With `is_seen_whole` the command changes nothing but by calls of `kinds` in `folders`. So when
    everything is killed before a call, it leaves what a kill after the call before that left. A
    sweep of both then tries only the first of the kills before a call.
    """

    prepare: Callable[[Path], None]
    command: Callable[[Path], Sequence[str]]
    folders: Callable[[Path], Sequence[Path]]
    check: Callable[[Path, Trail], None]
    check_always: Callable[[Path, Trail], None] = lambda folder, trail: None
    done_codes: frozenset[int] = frozenset({0})
    kinds: frozenset[CallKind] = CHANGING
    environment: Mapping[str, str] | None = None
    timeout_seconds: float = 60.0
    undisturbed_runs_max: int = 2
    is_forked: bool = False
    is_seen_whole: bool = False


@value_class
class TrailOutcome:
    """A trail and what was wrong with it, if anything."""

    trail: Trail
    problem: str | None


@value_class
class FailedCheck:
    """Faults after which a check failed, the folder as it was left, and the runs."""

    faults: tuple[Fault, ...]
    folder: Path
    problem: str
    trail: Trail

    def __str__(self) -> str:
        lines = [f"{list(self.faults)}", f"  left in {self.folder}", f"  {self.problem}"]
        lines += [f"  exit {run.returncode}, hit {run.hit}" for run in self.trail.runs]
        lines += [f"  | {line}" for line in self.trail.last.stderr.splitlines()[-8:]]
        return "\n".join(lines)


@value_class
class SweepReport:
    """How many points were tried, how many of them were hit, and what failed."""

    seed: int
    points: int
    hit: int
    failures: tuple[FailedCheck, ...]

    def __str__(self) -> str:
        head = f"{self.points} points, {self.hit} hit, {len(self.failures)} failed"
        return "\n".join([f"{head} (seed {self.seed})", *map(str, self.failures)])

    def raise_on_failures(self) -> None:
        if self.failures:
            raise AssertionError(str(self))


_PointOutcome = tuple[TrailOutcome, FailedCheck | None]


def run_trail(experiment: Experiment, folder: Path, faults: Sequence[Fault]) -> TrailOutcome:
    """Prepare the folder, run once under each fault, then undisturbed until done, at least once.

    Runs after a disturbed one tell no calls, and a disturbed one none after those that were hit."""
    return _run_trail(experiment, None, folder, faults)


def _run_trail(
    experiment: Experiment, template: Template | None, folder: Path, faults: Sequence[Fault]
) -> TrailOutcome:
    folder.mkdir(parents=True)
    experiment.prepare(folder)
    runs: list[Traced] = []
    for fault in (*faults, *[None] * experiment.undisturbed_runs_max):
        # Of a run after a disturbed one only the end is looked at.
        kinds = frozenset() if fault is None and faults else experiment.kinds
        runs.append(
            run_traced(
                experiment.command(folder),
                folders=experiment.folders(folder),
                fault=fault,
                kinds=kinds,
                environment=experiment.environment,
                working_folder=folder,
                timeout_seconds=experiment.timeout_seconds,
                template=template,
                is_watched_on=fault is None,
            )
        )
        trail = Trail(tuple(runs))
        problem = _judge(experiment, folder, trail)
        is_done = fault is None and trail.last.returncode in experiment.done_codes
        if problem is not None or is_done:
            return TrailOutcome(trail=trail, problem=problem)
    return TrailOutcome(
        trail=Trail(tuple(runs)), problem="it was not done after the undisturbed runs"
    )


def _judge(experiment: Experiment, folder: Path, trail: Trail) -> str | None:
    if trail.last.is_timed_out:
        return f"it was still running after {experiment.timeout_seconds} s"
    try:
        experiment.check_always(folder, trail)
        if trail.last.returncode in experiment.done_codes:
            experiment.check(folder, trail)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its verdict
        return "".join(traceback.format_exception_only(error)).strip()
    return None


def sweep(
    experiment: Experiment,
    workspace: Path,
    *,
    faults: Sequence[MakeFault],
    sample: int | None = None,
    seed: int | None = None,
    is_twice: bool = False,
    jobs: int = 2,
) -> SweepReport:
    """Try each kind of fault at each of its points (`find_points`), or until `sample` of these,
    which the seed chooses, were hit.

    The points are counted in an undisturbed run, which must succeed. Another run may make fewer
    calls, so a point may not be hit. With `is_twice` each point's rerun is disturbed as well, at
    another point that the seed chooses. Folders of points that pass are removed; those of failures
    stay.
    """
    seed = secrets.randbits(32) if seed is None else seed
    chooser = random.Random(seed)
    run = partial(_run_trail, experiment, _find_template(experiment, workspace))
    undisturbed = run(workspace / "undisturbed", ())
    if undisturbed.problem is not None:
        told = undisturbed.trail.last.stderr
        raise AssertionError(f"undisturbed, {undisturbed.problem}\n{told}")
    calls = undisturbed.trail.runs[0].calls
    points = find_points(calls, faults, chooser, is_seen_whole=experiment.is_seen_whole)
    trails = [(point, chooser.choice(points)) if is_twice else (point,) for point in points]
    wanted = len(trails)
    if sample is not None and sample < wanted:
        wanted = sample
        chooser.shuffle(trails)
    sys.stderr.write(f"sweep: {wanted} of {len(points)} points, seed {seed}\n")
    waiting = enumerate(trails, 1)
    outcomes: list[_PointOutcome] = []
    hit = 0
    with ThreadPoolExecutor(jobs) as pool:
        while numbered := list(islice(waiting, wanted - hit)):
            outcomes += pool.map(partial(_try_point, run, workspace), numbered)
            hit = sum(outcome.trail.runs[0].was_triggered for outcome, _ in outcomes)
    return SweepReport(
        seed=seed,
        points=len(outcomes),
        hit=hit,
        failures=tuple(failure for _, failure in outcomes if failure is not None),
    )


def disturb(
    experiment: Experiment,
    workspace: Path,
    *,
    seeded: random.Random,
    faults: Sequence[MakeFault] = KILLS,
    sample: int | None = None,
    is_twice: bool = False,
    twice_max: int | None = None,
) -> None:
    """Sweep, or raise `AssertionError` about what failed, or if no call was hit. A sweep of all
    points that disturbs twice is cut to `twice_max` of them."""
    if is_twice and sample is None:
        sample = twice_max
    report = sweep(
        experiment,
        workspace / "sweep",
        faults=faults,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=is_twice,
    )
    report.raise_on_failures()
    if not report.hit:
        raise AssertionError("no call was hit")


def _find_template(experiment: Experiment, workspace: Path) -> Template | None:
    """What the runs are forked from, if they are."""
    if not experiment.is_forked:
        return None
    folder = workspace / "imports"
    folder.mkdir(parents=True)
    experiment.prepare(folder)
    command = experiment.command(folder)
    template = find_template(command, folder, experiment.environment, experiment.timeout_seconds)
    shutil.rmtree(folder)
    return template


def _try_point(
    run: Callable[[Path, Sequence[Fault]], TrailOutcome],
    workspace: Path,
    numbered: tuple[int, tuple[Fault, ...]],
) -> _PointOutcome:
    number, faults = numbered
    folder = workspace / f"point-{number:05d}"
    outcome = run(folder, faults)
    if outcome.problem is None:
        shutil.rmtree(folder)
        return outcome, None
    return outcome, FailedCheck(
        faults=faults, folder=folder, problem=outcome.problem, trail=outcome.trail
    )
