"""Runs what is upstream and not up to date, in order, each by its recorded job (decision 0094).

Each job is run by a process of its own, as people would run it: two job files may have modules of
one name. It ends with this process, however that ends.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from batten.chain.inputs import InputsSeen, compare_inputs
from batten.chain.walk import WHOLE, list_places
from batten.errors import (
    BattenError,
    BusyError,
    FailedRunError,
    InconsistentError,
    InterruptedRunError,
    RefusedError,
    StorageError,
    UsageError,
)
from batten.executors.processes.parents import end_with_parent
from batten.inspect.advising.again import Again, find_again
from batten.inspect.advising.upstream import find_behind
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import Place
from batten.jobs.loading.job_folder import show_path
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.model.disk.runs.job_calls import BATTEN, JobCall, list_words
from batten.model.json_text import find_object
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.model.words import Action, State
from batten.run.signals import StopSignals

_DONE = (0, 3)
_KINDS: dict[int, type[BattenError]] = {
    2: UsageError,
    4: InconsistentError,
    5: RefusedError,
    6: BusyError,
    7: StorageError,
    75: InterruptedRunError,
}
"""What a run upstream that ended so means here."""


@value_class
class UpstreamRun:
    """A job upstream that was run, or would be: `report` is what it printed as JSON, if it did."""

    path: str
    exit_code: int | None
    report: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As `run --json` lists it."""
        return {**self.report, "path": self.path, "exit_code": self.exit_code}


def run_upstream(
    path: Path | str, *, is_dry_run: bool, is_quiet: bool, tell: Callable[[str], None]
) -> list[UpstreamRun]:
    """Bring the dataset at `path` up to date, and before it what it is made of. Gives the runs that
    were made; of a dry run, those that would be, as far as can be known now. Raises the error that
    a run upstream ended with, or `RefusedError` where one can't be run."""
    ran: list[UpstreamRun] = []
    places = list_places(show_path(path))
    for place in places:
        observation = observe_output(place.storage, place.layout)
        found = diagnose_place(place)
        need = _find_need(place, observation, found, is_first=place is places[0])
        if need is Need.NONE and not (is_dry_run and ran):
            continue
        again = find_again(place, observation)
        if need is Need.UNKNOWN and again.call is None:
            continue
        call = _require_call(place, found, again)
        tell(f"{found.path}, upstream: {again.line}")
        if is_dry_run:
            ran.append(UpstreamRun(path=found.path, exit_code=None, report={}))
        else:
            ran.append(_run(place, call, is_quiet=is_quiet))
    return ran


class Need(Enum):
    """Whether a job upstream is to be run. Where nobody can know, it finds out itself."""

    NONE = "up to date"
    UNKNOWN = "only the job can tell"
    BEHIND = "not up to date"


def _find_need(place: Place, observation: Observation, found: Diagnosis, *, is_first: bool) -> Need:
    if found.state in WHOLE:
        seen = compare_inputs(place, observation) if is_first else InputsSeen()
        if seen.unknown:
            return Need.UNKNOWN
        return Need.BEHIND if seen.behind and not seen.behind.is_gone else Need.NONE
    behind = find_behind(place, observation) if found.state is State.STALE else None
    if behind is not None and behind.is_gone:
        return Need.NONE
    if found.action not in (Action.RUN, Action.RECOVER):
        raise RefusedError(
            f"{found.path}, upstream, is {found.state.value}: {found.reason}.",
            safe="Nothing was begun here.",
            next=found.next,
        )
    return Need.BEHIND


def _require_call(place: Place, found: Diagnosis, again: Again) -> JobCall:
    """How its job was started. Raises `RefusedError` where it can't be started again, or where
    somebody else may have said how."""
    stranger = _find_stranger(place, again)
    if again.call is None or stranger:
        raise RefusedError(
            f"{found.path}, upstream, is not up to date, and its job can't be run from here"
            + (f": {stranger}." if stranger else "."),
            safe="Nothing was begun here.",
            next=again.told,
        )
    return again.call


def _find_stranger(place: Place, again: Again) -> str:
    """Who else than oneself or root may have written the record or the job; empty if nobody."""
    if again.call is None:
        return ""
    if place.storage.local is None:
        return "its record lies in a store, where others may have said how it is run"
    root = place.storage.place
    paths = [f"{root}/{place.layout.control}", f"{root}/{place.layout.config}", again.call.file]
    for path in filter(None, paths):
        try:
            found = os.lstat(path)
        except OSError as error:
            return f"{path} can't be looked at: {error.strerror}"
        if found.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to another user"
        if found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode):
            return f"everybody may write to {path}"
    return ""


def _run(place: Place, call: JobCall, *, is_quiet: bool) -> UpstreamRun:
    more = ("--json", *(("--quiet",) if is_quiet else ())) if call.kind == BATTEN else ()
    words = list_words(call, sys.executable, more)
    if call.kind == BATTEN:
        words = [sys.executable, "-P", "-m", "batten", *words[1:]]
    ended = _wait(words, call.folder or None)
    report = _read_report(ended.stdout)
    if ended.returncode in _DONE:
        return UpstreamRun(path=place.path, exit_code=ended.returncode, report=report)
    error = report.get("error")
    told = error.get("what", "") if isinstance(error, dict) else ""
    kind = _KINDS.get(ended.returncode, FailedRunError)
    raise kind(
        f"{place.path}, upstream, was run and ended with exit code {ended.returncode}."
        + (f" {told}" if told else ""),
        safe="What it had finished is kept. Nothing was begun here.",
        next=f"See what is there: {command('diagnose', place.path)}",
    )


def _wait(words: Sequence[str], folder: str | None) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end; a signal that asks this process to stop is passed on. It has a group of
    its own, so that it gets what a terminal sends once."""
    with StopSignals() as signals:
        process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
        is_told = False
        output = b""
        while True:
            try:
                output, _ = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if signals.received is not None and not is_told:
                    is_told = True
                    process.send_signal(signal.Signals[signals.received])
    if signals.received is not None:
        raise InterruptedRunError(
            f"Stopped by {signals.received} while a job upstream was at work.",
            safe="Everything that was finished is kept; it is safe to run again.",
            next="Run the same command again.",
        )
    return subprocess.CompletedProcess(words, process.returncode, output)


def _read_report(output: bytes) -> dict[str, Any]:
    return find_object(output) or {}
