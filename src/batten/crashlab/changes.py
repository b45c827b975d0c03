"""A command that takes a folder from one state to another, disturbed at any call.

    change = find_change(folder, command, ["features"], read_parts, before=read_parts(folder))
    disturb(change.experiment(), workspace, faults=KILLS, sample=4, seeded=seeded)

What it makes undisturbed is found first, in a copy. Wherever it is disturbed, a reader then finds
files of before or of after, and nothing else; and once a run is done, those of after.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import batten
from batten.crashlab.kept_templates import ForkedCommands
from batten.crashlab.promises import UNHARMED, raise_first
from batten.crashlab.sweeping import Experiment, Trail
from batten.inspect.verifying.verify import verify
from batten.model.value_class import value_class
from batten.model.words import State

Files = Mapping[str, bytes]

_THROWAWAY = ("staging", "staged", "made", "recompute", "fresh")

_forked = ForkedCommands()


@value_class
class FolderChange:
    """`folder` as it is before, the outputs in it, and what `read` finds before and after.

    With `is_at_once` a reader finds all files of before or all of after. `codes` are those that a
    disturbed run may end with; any, if there are none. `check_more` is called once a run is done.
    Where it may be found `done` with orphans, what an earlier one left may stay.
    """

    folder: Path
    command: Sequence[str]
    outputs: Sequence[str]
    read: Callable[[Path], Files]
    before: Files
    after: Files
    is_at_once: bool = False
    done: frozenset[State] = frozenset({State.COMPLETE})
    unharmed: frozenset[State] = UNHARMED
    codes: frozenset[int] = frozenset()
    check_more: Callable[[Path], None] = lambda folder: None

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def check_always(self, folder: Path, trail: Trail) -> None:
        """What must hold whenever nobody is at work."""
        raise_first(self._find_broken(folder, trail))

    def check(self, folder: Path, trail: Trail) -> None:
        """What must hold when a run says that it is done."""
        raise_first(self._find_undone(folder))
        self.check_more(folder)

    def _find_broken(self, folder: Path, trail: Trail) -> Iterator[str]:
        last = trail.last
        was_killed = last.returncode < 0 and last.fault is not None
        if "Traceback" in last.stderr or not (
            was_killed or not self.codes or last.returncode in self.codes
        ):
            yield f"exit {last.returncode}: {last.stderr}"
        for name in self.outputs:
            diagnosis = batten.diagnose(folder / name)
            if diagnosis.state not in self.unharmed:
                yield f"{name}: {diagnosis}"
        found = self.read(folder)
        if self.is_at_once and found not in (self.before, self.after):
            yield f"{sorted(found)} are neither those of before nor those of after"
        for name, data in found.items():
            if data not in (self.before.get(name), self.after.get(name)):
                yield f"{name} is neither the old nor the new one"

    def _find_undone(self, folder: Path) -> Iterator[str]:
        found = self.read(folder)
        if found != self.after:
            yield f"{sorted(found)} are not those of an undisturbed run"
        for name in self.outputs:
            diagnosis = batten.diagnose(folder / name)
            if diagnosis.state not in self.done:
                yield f"{name}: {diagnosis}"
            verification = verify(folder / name)
            if not verification.is_sound:
                yield f"{name}: {verification}"
            has_orphans = State.COMPLETE_WITH_ORPHANS in self.done
            left = [] if has_orphans else find_throwaway(folder, name)
            if left:
                yield f"{left} were left"

    def experiment(self, **more: Any) -> Experiment:
        """To be disturbed at any call on the outputs and their control folders."""
        watched = [each for name in self.outputs for each in (name, f"{name}.batten")]
        given: dict[str, Any] = {
            "prepare": self.prepare,
            "command": lambda folder: self.command,
            "folders": lambda folder: [folder / name for name in watched],
            "check": self.check,
            "check_always": self.check_always,
            "is_forked": True,
            "is_seen_whole": True,
        }
        return Experiment(**given | more)


def find_change(
    folder: Path,
    command: Sequence[str],
    outputs: Sequence[str],
    read: Callable[[Path], Files],
    before: Files,
    **more: Any,
) -> FolderChange:
    """What the command makes of a copy of the folder, which stays in `undisturbed` beside it."""
    done = folder.with_name("undisturbed")
    shutil.copytree(folder, done)
    run_plainly(command, done)
    after = read(done)
    if after == before:
        raise AssertionError("the command changes nothing that is read")
    return FolderChange(
        folder=folder,
        command=command,
        outputs=outputs,
        read=read,
        before=before,
        after=after,
        **more,
    )


def check_unharmed(output: Path, states: frozenset[State] = UNHARMED) -> None:
    """Whatever happened to its run, nothing of the output is said to be damaged."""
    diagnosis = batten.diagnose(output)
    if diagnosis.state not in states:
        raise AssertionError(f"{output.name}: {diagnosis}")


def run_plainly(command: Sequence[str], folder: Path, *, code: int = 0) -> None:
    """It ends with the code, or this raises."""
    ended = _forked.run(command, folder)
    if ended.returncode != code:
        raise AssertionError(f"exit {ended.returncode}: {ended.stderr}")


def read_parts(folder: Path, output: str) -> dict[str, bytes]:
    """The parts of the dataset in the folder; each is read whole as Parquet as well."""
    found = folder / output
    paths = sorted(found.iterdir()) if found.exists() else []
    for path in paths:
        pq.read_table(path)
    return {path.name: path.read_bytes() for path in paths}


def read_files(folder: Path, output: str) -> dict[str, bytes]:
    """All files below the output, by their path there; or the output, if it is a file."""
    found = folder / output
    paths = [found] if found.is_file() else sorted(found.rglob("*"))
    return {str(path.relative_to(found)): path.read_bytes() for path in paths if path.is_file()}


def find_throwaway(folder: Path, output: str) -> list[Path]:
    """What no run leaves that is done."""
    control = folder / f"{output}.batten"
    return [path for name in _THROWAWAY for path in (control / name).glob("*")]
