"""When batches were published, by their commit records: the throughput and the failures over time.

Logs of runs tell when a run began and ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from batten.errors import StorageError
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.history.runs import RunLog
from batten.model.disk.records import CommitRecord, Unreadable, decode_record
from batten.model.rules.accounting import tally_outcomes
from batten.model.value_class import value_class

RECORDS_MAX = 2000
REMOTE_RECORDS_MAX = 60
"""Where each is a request."""
BARS_MAX = 72
RUNS_DRAWN_MAX = 24
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds that a bar may stand for; beyond these, whole days."""


class PublishedAt(NamedTuple):
    """A batch that was published, in seconds since 1970, by that run. With those beside it that
    were not looked at, it stands for so many items."""

    seconds: float
    items: float
    quarantined: float
    run: str


class Interval(NamedTuple):
    """What was published within the seconds of one bar."""

    items: float
    quarantined: float


@value_class
class DrawnRun:
    """A run from its beginning, in seconds since 1970, in bars of equal length."""

    run: str
    began: float
    ended: float
    bars: tuple[Interval, ...]


@value_class
class Throughput:
    """`read` of `batches` commit records were read, and `odd` of these tell no time."""

    bar_seconds: float
    runs: tuple[DrawnRun, ...]
    runs_left_out: int
    read: int
    batches: int
    odd: int


def look_at_pace(
    place: Place, observation: Observation, runs: Sequence[RunLog]
) -> Throughput | None:
    """None where no batch is published."""
    batches = sorted(observation.parts)
    if not batches:
        return None
    most = RECORDS_MAX if place.storage.folder is not None else REMOTE_RECORDS_MAX
    step = -(-len(batches) // most)
    chosen = batches[::step]
    versions, weight = observation.versions, len(batches) / len(chosen)
    times = [_read(place, batch, versions.get(batch, ""), weight) for batch in chosen]
    known = [each for each in times if each is not None]
    drawn, seconds = _draw(known, {run.run: run for run in runs})
    return Throughput(
        bar_seconds=seconds,
        runs=tuple(drawn),
        runs_left_out=len({each.run for each in known}) - len(drawn),
        read=len(chosen),
        batches=len(batches),
        odd=len(times) - len(known),
    )


def read_time(text: object) -> float | None:
    """Seconds since 1970 of a time that is recorded; None if it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found.timestamp() if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _read(place: Place, batch: int, version: str, weight: float) -> PublishedAt | None:
    name = place.layout.commit(batch, version)
    try:
        record = decode_record(CommitRecord, place.storage.read(name))
        counts = tally_outcomes(record.outcomes)
    except (FileNotFoundError, StorageError, Unreadable, ValueError):
        return None
    seconds = read_time(record.time)
    if seconds is None:
        return None
    items, quarantined = record.items * weight, counts.quarantined * weight
    return PublishedAt(seconds, items, quarantined, record.run)


def _draw(times: Iterable[PublishedAt], logs: dict[str, RunLog]) -> tuple[list[DrawnRun], float]:
    """A run from its log's first line to its last, as far as these fit what it published."""
    by_run: dict[str, list[PublishedAt]] = {}
    for each in times:
        by_run.setdefault(each.run, []).append(each)
    spans = {run: _find_span(found, logs.get(run)) for run, found in by_run.items()}
    shown = sorted(by_run, key=lambda run: spans[run])[-RUNS_DRAWN_MAX:]
    whole = sum(spans[run][1] - spans[run][0] for run in shown)
    count = sum(len(by_run[run]) for run in shown)
    # With fewer batches than bars, most bars would be empty.
    seconds = _choose_step(whole / max(1, min(BARS_MAX - len(shown), count // 2)))
    drawn = [
        DrawnRun(
            run=run,
            began=spans[run][0],
            ended=spans[run][1],
            bars=_fill(by_run[run], spans[run], seconds),
        )
        for run in shown
    ]
    return drawn, seconds


def _find_span(found: Sequence[PublishedAt], log: RunLog | None) -> tuple[float, float]:
    first = min(each.seconds for each in found)
    last = max(each.seconds for each in found)
    began = read_time(log.start.get("time")) if log is not None else None
    return (first if began is None else min(first, began)), last


def _choose_step(least: float) -> float:
    fitting = (step for step in _STEPS if step >= least)
    return next(fitting, 86400.0 * -(-least // 86400))


def _fill(
    found: Sequence[PublishedAt], span: tuple[float, float], seconds: float
) -> tuple[Interval, ...]:
    began, ended = span
    count = int((ended - began) // seconds) + 1
    items, quarantined = [0.0] * count, [0.0] * count
    for each in found:
        at = min(count - 1, int((each.seconds - began) // seconds))
        items[at] += each.items
        quarantined[at] += each.quarantined
    return tuple(map(Interval, items, quarantined))
