"""What the logs of runs tell. They are hints: a line that can't be read is left out and counted."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from batten.errors import StorageError
from batten.model.names import Layout
from batten.model.value_class import value_class
from batten.storage.base import Storage

LOG_SUFFIX = ".jsonl"


@value_class
class LoggedTable:
    """A table that a run was given: its digest (SHA-256), and of each file size and time."""

    path: str
    digest: str
    files: list[list[int]]


@value_class
class RunLog:
    """One run. `start`, `stop` and `signals` are the log's lines of those events; a run that was
    killed has no `stop`. A run that makes a dataset anew starts twice: for the new dataset, then
    for its destinations. These are of the last start."""

    run: str
    start: dict[str, Any]
    stop: dict[str, Any] | None
    signals: tuple[dict[str, Any], ...]
    damaged_lines: int

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
    """What one run did, and not the whole dataset: `executed_items`, `adopted_items` and `seconds`
    (by stage) are its own. None is what its log does not say: a killed run has not `stopped`."""

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


def list_runs(storage: Storage, layout: Layout) -> list[str]:
    """The ids of all runs that left a log, oldest first."""
    start = len(layout.runs) + 1
    try:
        names = [entry.name[start:] for entry in storage.list(layout.runs) if not entry.is_folder]
    except StorageError:
        return []
    return sorted(name.removesuffix(LOG_SUFFIX) for name in names if name.endswith(LOG_SUFFIX))


def read_run(storage: Storage, layout: Layout, run: str) -> RunLog:
    """What the log of a run says, as far as it can be read."""
    try:
        lines = storage.read(layout.run_log(run)).splitlines()
    except (FileNotFoundError, StorageError):
        return RunLog(run=run, start={}, stop=None, signals=(), damaged_lines=1)
    events = [event for line in lines if (event := _parse_line(line)) is not None]
    starts = [place for place, event in enumerate(events) if event["event"] == "start"]
    last = events[starts[-1] :] if starts else events
    stops = [event for event in last if event["event"] == "stop"]
    return RunLog(
        run=run,
        start=last[0] if starts else {},
        stop=stops[-1] if stops else None,
        signals=tuple(event for event in last if event["event"] == "signal"),
        damaged_lines=len(lines) - len(events) + (not starts),
    )


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _are_facts(files: object) -> TypeGuard[list[list[int]]]:
    return isinstance(files, list) and all(
        isinstance(each, list) and len(each) == 2 and all(isinstance(n, int) for n in each)
        for each in files
    )
