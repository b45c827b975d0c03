"""What the logs of runs tell. They are hints: a line that can't be read is left out and counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, TypeGuard

from batten.errors import StorageError
from batten.ledger.facts.secrecy import conceal_event
from batten.model.disk.bounds import RECORD_BYTES_MAX, Count, Many, Name, Prose, Real, make_reader
from batten.model.disk.names import Layout
from batten.model.disk.records import Unreadable, decode_record
from batten.model.disk.runs.holders import Holder
from batten.model.disk.runs.refusals import Refusal, read_call, read_cause, read_ways
from batten.model.json_text import parse_json
from batten.model.value_class import value_class
from batten.model.words import RunStatus
from batten.storage.base import Store

LOG_SUFFIX = ".jsonl"


AT_ONCE = "Stopped at once by a second signal"
"""What the log of a run says that was told to stop, and did not wait for what was in hand."""

DOUBT = "doubt"
"""The line of a run that found that the job fails, not its items."""


@value_class
class LoggedTable:
    """A table that a run was given: its digest (SHA-256), and of each file size and time."""

    path: str
    digest: str
    files: list[list[int]]


@value_class
class RunLog:
    """One run. `start`, `stop` and `signals` are the log's lines of those events; a run that was
    killed, or could not write its log, has no `stop`. A run that makes a dataset anew starts twice:
    for the new dataset, then for its destinations. These are of the last start. `was_killed`: there
    is proof of that."""

    run: str
    start: dict[str, Any]
    stop: dict[str, Any] | None
    signals: tuple[dict[str, Any], ...]
    damaged_lines: int
    was_killed: bool = False
    has_doubt: bool = False

    @property
    def was_completed(self) -> bool:
        """Whether it did all that it was to do."""
        return self.stop is not None and self.stop.get("status") == RunStatus.COMPLETE

    @property
    def was_refused(self) -> bool:
        """Whether it ended before it began to work."""
        return self.stop is not None and self.stop.get("status") == RunStatus.REFUSED

    @property
    def was_interrupted(self) -> bool:
        """Whether it was told to stop, and did."""
        return self.stop is not None and self.stop.get("status") == RunStatus.INTERRUPTED

    @property
    def refusal(self) -> Refusal | None:
        """Why it was not let begin, where the next run would not be either."""
        stop = self.stop if self.was_refused else None
        cause = read_cause(stop.get("cause")) if stop is not None else None
        if stop is None or cause is None:
            return None
        return Refusal(
            cause=cause, ways=read_ways(stop.get("ways")), call=read_call(stop.get("job"))
        )

    @property
    def inputs(self) -> list[str]:
        """The files and folders that it read, as far as its log tells."""
        told = self.start.get("inputs")
        return [each for each in told if isinstance(each, str)] if isinstance(told, list) else []

    @property
    def tables(self) -> dict[str, LoggedTable]:
        """The tables of a job of whole tables, as far as its log tells."""
        told = self.start.get("tables")
        found = {}
        for name, table in told.items() if isinstance(told, dict) else ():
            if isinstance(table, dict) and isinstance(path := table.get("path"), str):
                digest, files = str(table.get("sha256")), table.get("files")
                found[name] = LoggedTable(
                    path=path, digest=digest, files=files if _are_facts(files) else []
                )
        return found

    def summarize(self) -> RunSummary:
        """The run in a few words, as far as its log tells."""
        stop = self.stop or {}
        return RunSummary(
            run=self.run,
            started=self.start.get("time"),
            stopped=stop.get("time"),
            status=stop.get("status"),
            jobs=self.start.get("jobs"),
            command=self.start.get("command"),
            executed_items=stop.get("executed_items"),
            adopted_items=stop.get("adopted_items"),
            seconds=stop.get("seconds"),
            error=stop.get("error"),
        )


@value_class
class RunSummary:
    """What one run did, and not the whole dataset. None stands for what its log does not say.

    Attributes:
        run: The name of the run.
        started: When it began, in UTC.
        stopped: When it ended, in UTC; None of a killed run.
        status: How it ended.
        jobs: How many items it ran at a time.
        command: How it was started.
        executed_items: For how many items it called the job's functions.
        adopted_items: How many items it took over from an earlier run.
        seconds: How long each stage took, in seconds.
        error: The first line of what ended it.
    """

    run: str
    started: str | None
    stopped: str | None
    status: str | None
    jobs: int | None
    command: str | None
    executed_items: int | None
    adopted_items: int | None
    seconds: dict[str, float] | None
    error: str | None


def list_runs(storage: Store, layout: Layout) -> list[str]:
    """The ids of all runs that left a log, oldest first."""
    start = len(layout.runs) + 1
    try:
        names = [entry.name[start:] for entry in storage.list(layout.runs) if not entry.is_folder]
    except StorageError:
        return []
    return sorted(name.removesuffix(LOG_SUFFIX) for name in names if name.endswith(LOG_SUFFIX))


def read_run(storage: Store, layout: Layout, run: str) -> RunLog:
    """What the log of a run says, as far as it can be read."""
    try:
        lines = storage.read(
            layout.run_log(run), bytes_max=RECORD_BYTES_MAX["run log"]
        ).splitlines()
    except (FileNotFoundError, StorageError):
        return RunLog(run=run, start={}, stop=None, signals=(), damaged_lines=1)
    events = [event for line in lines if (event := _parse_line(line)) is not None]
    starts = [place for place, event in enumerate(events) if event["event"] == "start"]
    last = events[starts[-1] :] if starts else events
    stops = [event for event in last if event["event"] == "stop"]
    return RunLog(
        run=run,
        start=conceal_event(last[0]) if starts else {},
        stop=conceal_event(stops[-1]) if stops else None,
        signals=tuple(event for event in last if event["event"] == "signal"),
        damaged_lines=len(lines) - len(events) + (not starts),
        has_doubt=any(event["event"] == DOUBT for event in events),
    )


def find_last_log(storage: Store, layout: Layout, *, but: str = "") -> RunLog | None:
    """That of the last run that began to work and left one; that run is not meant."""
    runs = (run for run in reversed(list_runs(storage, layout)) if run != but)
    logs = (read_run(storage, layout, run) for run in runs)
    return next((log for log in logs if not log.was_refused), None)


def find_last_run(storage: Store, layout: Layout) -> RunLog | None:
    """The last run that began to work. Where nobody holds the lock.

    A process that ends takes its name out of the lock. So a name that is there belongs to a process
    that was killed. If that run left no log, only the text of the lock tells of it."""
    last = find_last_log(storage, layout)
    holder = _find_dead_holder(storage, layout)
    if holder is not None and (last is None or not _is_of(last, holder)):
        counted = {"group": holder.memory_group, **holder.memory_kills}
        told = vars(holder) | {"time": holder.since, "memory_kills": counted}
        return RunLog(run="", start=told, stop=None, signals=(), damaged_lines=0, was_killed=True)
    if last is None or last.stop is not None:
        return last
    return replace(last, was_killed=holder is not None or _has_marks(storage, layout, last.run))


def find_refusal(storage: Store, layout: Layout) -> RunLog | None:
    """The last run, if it was not let begin."""
    runs = list_runs(storage, layout)
    last = read_run(storage, layout, runs[-1]) if runs else None
    return last if last is not None and last.was_refused else None


def _find_dead_holder(storage: Store, layout: Layout) -> Holder | None:
    try:
        holder = decode_record(Holder, storage.read(layout.lock))
    except (FileNotFoundError, StorageError, Unreadable):
        return None
    return holder if holder.pid else None


def find_signal(storage: Store, layout: Layout, holder: Holder) -> str:
    """The signal that has asked the run at work to stop; empty if none has."""
    log = find_last_log(storage, layout)
    if log is None or not log.signals or not _is_of(log, holder):
        return ""
    return str(log.signals[-1].get("signal") or "a signal")


def _is_of(log: RunLog, holder: Holder) -> bool:
    names = ("pid", "host", "boot", "pid_namespace")
    return all(log.start.get(name, "") == getattr(holder, name) for name in names)


def _has_marks(storage: Store, layout: Layout, run: str) -> bool:
    """Whether the marks of items in hand are there, which every run deletes that ends by itself."""
    try:
        return storage.find(layout.in_flight(run)) is not None
    except StorageError:
        return False


_READERS = {
    name: make_reader(hint)
    for name, hint in {
        "event": Name,
        "time": Name,
        "pid": Count,
        "host": Name,
        "boot": Name,
        "pid_namespace": Name,
        "command": Prose,
        "inputs": Annotated[list[Prose], Many(100_000)],
        "jobs": Count,
        "signal": Name,
        "name": Name,
        "status": Name,
        "executed_items": Count,
        "adopted_items": Count,
        "seconds": Annotated[dict[str, Annotated[float, Real(0, 1e12)]], Many(1000)],
    }.items()
}
"""What the fields of an event may hold; others are not looked at."""


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """None for what is no event. A field of null is as one that is not there."""
    try:
        found = parse_json(line)
        if not isinstance(found, dict) or found.get("event") is None:
            return None
        event = {name: value for name, value in found.items() if value is not None}
        for name in event.keys() & _READERS.keys():
            _READERS[name](event[name], name)
    except ValueError:
        return None
    return event


def _are_facts(files: object) -> TypeGuard[list[list[int]]]:
    return isinstance(files, list) and all(
        isinstance(each, list) and len(each) == 2 and all(isinstance(n, int) for n in each)
        for each in files
    )
