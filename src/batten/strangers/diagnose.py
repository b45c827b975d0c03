"""Diagnoses a layout that is not batten's: a final file for each run's key, and staging files.

Reads only. What can't be known from files alone is said, and never guessed from their ages.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Sequence

from batten.errors import StorageError
from batten.inspect.advising.last_end import tell_disk
from batten.inspect.advising.outlook import Likelihood, Outlook
from batten.inspect.advising.words_of_states import Kind, StrangerFacts, say
from batten.inspect.diagnosis import Diagnosis, NextRun, Orphan
from batten.inspect.paths.matching import list_files, match_paths
from batten.inspect.survey import Survey
from batten.model.disk.runs.holders import Holder
from batten.model.rules.foreign_states import Final, ForeignFacts, decide_foreign
from batten.model.telling.counts import count_of
from batten.model.telling.run_keys import fill_in, list_runs_of, tells_run
from batten.model.telling.sizes import show_age, show_bytes
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.addresses import local_path, refuse_address
from batten.storage.local.locking.writers import Writers, find_writers

_CLOCK_SECONDS = 2.0
"""Clocks of machines and filesystems that agree may differ by this much."""


@value_class
class ForeignLayout:
    """Paths with names in braces: `out/refunds_{run_date}.csv`, `_staging/{run_date}.*.csv`. If
    every run replaces the same final file, the file is of this run only if it is younger than
    `fresh_for_seconds`, if that is given. If its name tells the run, its age does not count."""

    final: str
    staging: str | None
    fresh_for_seconds: float | None = None


@value_class
class _Look:
    """What was seen of one run's key. `is_named`: the name of the final file tells whose it is."""

    path: str
    final: Final
    evidence: str
    size: int
    staging: tuple[Orphan, ...]
    writers: Writers
    is_named: bool

    @property
    def unasked(self) -> str:
        """The processes that might write, for all that can be known; empty if there are none."""
        hidden = self.writers.hidden
        told = count_of(hidden, "process", "processes")
        return f"{told} of other users could not be asked" if hidden else ""


def survey_foreign(layout: ForeignLayout, runs: Sequence[str]) -> Survey:
    """The states of these runs (`2026-04-24`, `2026-04-01..2026-04-30`, `region=eu`; several names
    are combined). Raises `UsageError` if a name in braces has no value."""
    names = f"{layout.final} {layout.staging or ''}"
    found = [diagnose_foreign(layout, values) for values in list_runs_of(names, runs)]
    return Survey(diagnoses=tuple(found))


def diagnose_foreign(layout: ForeignLayout, values: dict[str, str]) -> Diagnosis:
    """The state of one run. `reason` has the short name that people on call know it by."""
    look = _look(layout, values)
    judged = decide_foreign(
        ForeignFacts(
            final=look.final,
            has_writer=bool(look.writers.pids),
            has_staging=bool(look.staging),
        )
    )
    state = judged.verdict.state
    is_running = state is State.RUNNING
    facts = StrangerFacts(
        path=look.path,
        evidence=look.evidence,
        is_old=look.final is Final.OLD,
        staged=tuple(orphan.path for orphan in look.staging),
        key="".join(f" {name}={value}" for name, value in values.items()),
        unasked=look.unasked,
        pids=tuple(look.writers.pids),
    )
    said = say(Kind.FOREIGN, state, facts)
    return Diagnosis(
        state=state,
        path=look.path,
        action=judged.verdict.action,
        next=said.next,
        risky=said.risky,
        reason=f"{said.why} ({judged.called})",
        orphans=() if is_running else look.staging,
        holder=_name_holder(look.writers),
        hints=tuple(_list_hints(layout, state, look)),
        exit_code=judged.verdict.exit_code,
        parameters=values,
        readers=_tell_readers(look),
        next_run=NextRun(again=_foresee(look)),
    )


def _look(layout: ForeignLayout, values: dict[str, str]) -> _Look:
    path = local_path(fill_in(layout.final, values))
    refuse_address(layout.staging or path)
    is_named = tells_run(layout.final, values)
    fresh_for = None if is_named else layout.fresh_for_seconds
    final, evidence, size = _look_at_final(path, fresh_for)
    escaped = {name: glob.escape(value) for name, value in values.items()}
    pattern = fill_in(layout.staging, escaped) if layout.staging else ""
    names: list[str] = []
    try:
        found = sorted(match_paths(pattern)) if pattern else []
        names = [name for each in found for name in list_files(each) if name != path]
    except StorageError as error:
        final, evidence = Final.ODD, f"staging can't be looked at: {error.what.rstrip('.')}"
    staging = tuple(each for name in names if (each := _describe(name)) is not None)
    return _Look(
        path=path,
        final=final,
        evidence=evidence,
        size=size,
        staging=staging,
        writers=find_writers([path, *names]),
        is_named=is_named,
    )


def _look_at_final(path: str, fresh_for_seconds: float | None) -> tuple[Final, str, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Final.ABSENT, "it is not there", 0
    except OSError as error:
        return Final.ODD, f"it can't be looked at: {error.strerror}", 0
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        return Final.ODD, "it is no regular file", 0
    if not size:
        return Final.ODD, "it is empty", 0
    if fresh_for_seconds is None:
        return Final.THERE, "it is there", size
    age = time.time() - status.st_mtime
    if age < -_CLOCK_SECONDS:
        return Final.FUTURE, f"its time is {show_age(-age)} in the future", size
    if age > fresh_for_seconds:
        return Final.OLD, f"it is {show_age(age)} old: of an earlier run", size
    return Final.THERE, f"it is there, {show_age(age)} old", size


def _describe(path: str) -> Orphan | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    age = max(0, int(time.time() - status.st_mtime))
    return Orphan(path=path, bytes=status.st_size, age_seconds=age, owner=None)


def _name_holder(writers: Writers) -> Holder | None:
    if not writers.pids:
        return None
    return Holder(pid=writers.pids[0], host=os.uname().nodename, since="", boot="")


def _list_hints(layout: ForeignLayout, state: State, look: _Look) -> list[str]:
    hints = [tell_disk(os.path.dirname(os.path.abspath(look.path)))]
    if state is State.NEW:
        hints.append("a run that has not begun to write can't be told from none: see the scheduler")
    if look.unasked:
        hints.append(f"{look.unasked}: ask as the user of the job, or as root, to know who writes")
    if look.is_named and layout.fresh_for_seconds is not None:
        hints.append("the name of the file tells of which run it is, so its age was not asked")
    if state in (State.COMPLETE, State.COMPLETE_WITH_ORPHANS):
        hints.append("that the file is whole is the job's word; batten did not write it")
    return [hint for hint in hints if hint]


def _tell_readers(look: _Look) -> str:
    if look.final is Final.ABSENT:
        return "nothing: it is not there"
    if look.final is Final.ODD:
        return f"something odd: {look.evidence}"
    return f"a file of {show_bytes(look.size)}; {look.evidence}"


def _foresee(look: _Look) -> Outlook:
    disk = tell_disk(os.path.dirname(os.path.abspath(look.path)))
    if disk:
        return Outlook(likelihood=Likelihood.YES, because=disk)
    return Outlook(likelihood=Likelihood.UNKNOWN, because="a job that is not batten's logs nothing")
