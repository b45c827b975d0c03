"""Runs whole processes, two commands in turn, and tells what they took."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

JOBS = Path(__file__).with_name("jobs")

PYTHON = sys.executable
BATTEN = str(Path(sys.executable).with_name("batten"))

# As after an installation: Python keeps its compiled modules.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of the table: what was measured, the figure, its limit, and what it comes from.
    `processor` is the same ratio of processor time, which other load on the machine disturbs less.
    """

    what: str
    figure: str
    limit: str
    basis: str
    processor: str = ""


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one run of a command took; memory in MiB, of its largest process and of all, each at its
    own peak (0 where memory was not watched)."""

    seconds: float
    processor_seconds: float
    largest_mebibytes: float
    all_mebibytes: float
    output: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two commands. `reset` puts its folder back before each run."""

    command: Sequence[str]
    folder: Path
    reset: Callable[[], object] = lambda: None


def run(side: Side, *, is_memory_watched: bool = False) -> Took:
    """Run it once; raises where it fails."""
    side.reset()
    before = os.times()
    began = time.perf_counter()
    process = subprocess.Popen(
        side.command,
        cwd=side.folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peaks = _watch_memory(process.pid) if is_memory_watched else [0.0]
    output, errors = process.communicate()
    seconds = time.perf_counter() - began
    after = os.times()
    if process.returncode:
        raise RuntimeError(f"{' '.join(side.command)} ended with {process.returncode}:\n{errors}")
    return Took(
        seconds=seconds,
        processor_seconds=after.children_user
        + after.children_system
        - before.children_user
        - before.children_system,
        largest_mebibytes=max(peaks),
        all_mebibytes=sum(peaks),
        output=output,
    )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What both sides took, run by run."""

    ours: Sequence[Took]
    theirs: Sequence[Took]

    @property
    def wall(self) -> float:
        """Ours divided by theirs."""
        return median_ratio([t.seconds for t in self.ours], [t.seconds for t in self.theirs])

    def figure(self, what: str, limit: str) -> Figure:
        """The line that tells of both times."""
        processor = median_ratio(
            [t.processor_seconds for t in self.ours], [t.processor_seconds for t in self.theirs]
        )
        return Figure(
            what=what,
            figure=f"{self.wall:.2f}",
            limit=limit,
            basis=f"{_tell_seconds(self.ours)} against {_tell_seconds(self.theirs)}",
            processor=f"{processor:.2f}",
        )


def compare(ours: Side, theirs: Side, runs: int, *, is_warm: bool = False) -> Pairs:
    """Run both in turn, A B A B, after one run of each that is not counted, unless what they read
    and import `is_warm` already."""
    for side in () if is_warm else (ours, theirs):
        run(side)
    pairs = [(run(ours), run(theirs)) for _ in range(runs)]
    return Pairs(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def median_seconds(runs: Sequence[Took]) -> float:
    return median(took.seconds for took in runs)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios pair by pair, so that a drift of the machine does not show."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _tell_seconds(runs: Sequence[Took]) -> str:
    return f"{median_seconds(runs):.3f} s (best {min(took.seconds for took in runs):.3f})"


def fresh(folder: Path, *names: str) -> Callable[[], None]:
    """What removes these from the folder."""

    def remove() -> None:
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)

    return remove


def put_job(name: str, folder: Path) -> Path:
    """A copy of a job of `benchmarks/jobs`, since a job's output lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(JOBS / name, folder))


def _watch_memory(root: int) -> list[float]:
    """The peak of each process of the tree, in MiB, when the root has ended."""
    peaks: dict[int, float] = {}
    while not _has_ended(root):
        for process in _tree(root):
            peak = _peak_mebibytes(process)
            if peak:
                peaks[process] = peak
        time.sleep(POLL_SECONDS)
    return list(peaks.values())


def _has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _tree(root: int) -> set[int]:
    """The process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):
                # The name, in brackets, may hold anything; the parent is the second after it.
                parents[int(entry)] = int(
                    Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]
                )
    found: set[int] = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _peak_mebibytes(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0
