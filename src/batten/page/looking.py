"""What a page tells of one output: looked at as `diagnose` and `show` do, reading only.

A look may fail: what can't be read is said on the page, and the rest is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from batten.chain.walk import diagnose_chain
from batten.errors import BattenError, UsageError
from batten.inspect.advising.in_hand import list_in_hand_keys
from batten.inspect.advising.upstream import find_upstream
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.items.slowest import SlowestSeen, find_slowest
from batten.inspect.paths.output_path import Place, locate_output
from batten.inspect.watching import Sight, Watcher
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.history.runs import RunLog, list_runs, read_run
from batten.ledger.judge import judge
from batten.model.disk.records import Config
from batten.model.value_class import value_class
from batten.model.words import State
from batten.page.failures import FailuresSeen, look_at_failures
from batten.page.pace import Throughput, look_at_pace

Result = TypeVar("Result")
Other = TypeVar("Other")

_EXPECTED = (BattenError, OSError, ValueError, TypeError, KeyError)
"""What reading raises that finds something else than batten writes."""

RUNS_MAX = 40
IN_HAND_MAX = 20
NO_FAILURES = FailuresSeen()
NO_TIMES = SlowestSeen()


@value_class
class OutputSeen:
    """One output. `problem` says why it could not be diagnosed; then the rest is empty. `runs` are
    the last of `runs_all`. `upstream` are the datasets that it was made of, the first one first;
    `stale` is its own diagnosis where one of these is not whole. `sight` is of a run at work,
    `in_hand` of one that was killed. `slowest` are items that took longest. `unread` says what
    could not be read."""

    path: str
    diagnosis: Diagnosis | None = None
    problem: str = ""
    config: Config | None = None
    failures: FailuresSeen = NO_FAILURES
    runs: tuple[RunLog, ...] = ()
    runs_all: int = 0
    pace: Throughput | None = None
    upstream: tuple[Diagnosis, ...] = ()
    stale: Diagnosis | None = None
    sight: Sight | None = None
    in_hand: tuple[str, ...] = ()
    slowest: SlowestSeen = NO_TIMES
    unread: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """What can't be diagnosed is unknown."""
        return State.UNKNOWN if self.diagnosis is None else self.diagnosis.state


def look_briefly(path: str) -> OutputSeen:
    """Its state alone, of one among many. Raises `UsageError` for what can't be an output."""
    try:
        place = locate_output(path)
        return OutputSeen(path=place.path, diagnosis=diagnose_place(place, is_brief=True))
    except UsageError:
        raise
    except BattenError as error:
        return OutputSeen(path=path, problem=error.what)


def look_at_output(path: str, watcher: Callable[[], Watcher] | None = None) -> OutputSeen:
    """All of it. `watcher` gives what has looked at it before, and knows how fast a run is. Raises
    `UsageError` for what can't be an output."""
    try:
        place = locate_output(path)
        diagnosis = diagnose_place(place)
    except UsageError:
        raise
    except BattenError as error:
        return OutputSeen(path=path, problem=error.what)
    attempts = _Attempts()
    observation = attempts.look(
        "the output", lambda: observe_output(place.storage, place.layout), None
    )
    if observation is None or observation.config is None:
        return OutputSeen(path=place.path, diagnosis=diagnosis, unread=tuple(attempts.failed))
    return _look_at_dataset(place, observation, diagnosis, attempts, watcher)


def _look_at_dataset(
    place: Place,
    observation: Observation,
    diagnosis: Diagnosis,
    attempts: _Attempts,
    watcher: Callable[[], Watcher] | None,
) -> OutputSeen:
    names = attempts.look("the logs", lambda: list_runs(place.storage, place.layout), [])
    runs = [
        attempts.look(
            f"the log of {name}", partial(read_run, place.storage, place.layout, name), None
        )
        for name in names[-RUNS_MAX:]
    ]
    logs = tuple(run for run in runs if run is not None)
    chain = attempts.look("the chain of datasets", lambda: _look_upstream(place, observation), ())
    is_live = diagnosis.state is State.RUNNING
    plan = attempts.look("the plan", lambda: judge(observation).plan, None)
    return OutputSeen(
        path=place.path,
        diagnosis=diagnosis,
        config=observation.config,
        failures=attempts.look(
            "the quarantined items", lambda: look_at_failures(place, observation), NO_FAILURES
        ),
        runs=logs,
        runs_all=len(names),
        pace=attempts.look(
            "the commit records", lambda: look_at_pace(place, observation, logs), None
        ),
        upstream=chain[:-1],
        stale=chain[-1] if chain and chain[-1].state is not diagnosis.state else None,
        sight=attempts.look("the run at work", lambda: _watch(place, watcher), None)
        if is_live
        else None,
        in_hand=()
        if is_live
        else attempts.look("what was in hand", lambda: tuple(list_in_hand_keys(place, plan)), ()),
        slowest=attempts.look(
            "the slowest items", lambda: find_slowest(place, observation, plan), NO_TIMES
        ),
        unread=tuple(attempts.failed),
    )


def _look_upstream(place: Place, observation: Observation) -> tuple[Diagnosis, ...]:
    if find_upstream(place, observation) is None:
        return ()
    return diagnose_chain(place.path).diagnoses


def _watch(place: Place, watcher: Callable[[], Watcher] | None) -> Sight:
    found = Watcher(place.path, with_failures=False) if watcher is None else watcher()
    return found.look(time.monotonic())


class _Attempts:
    """Does looks one after the other. `failed` are sentences on those that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def look(self, what: str, act: Callable[[], Result], otherwise: Other) -> Result | Other:
        """What the look gives, or what stands for nothing."""
        try:
            return act()
        except Exception as error:
            if not _is_expected(error):
                raise
            told = (
                error.what if isinstance(error, BattenError) else f"{type(error).__name__}: {error}"
            )
            self.failed.append(f"{what} can't be read: {told}")
            return otherwise


def _is_expected(error: Exception) -> bool:
    """Whether it comes of what lies on disk. Arrow is not imported to be asked."""
    arrow = sys.modules.get("pyarrow")
    return isinstance(error, _EXPECTED) or (
        arrow is not None and isinstance(error, arrow.ArrowException)
    )
