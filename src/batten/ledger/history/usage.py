"""What the calls of a dataset used, by what became of their items.

The files of all runs are read. Where a dataset is complete, its record has the sums already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.ledger.history.usage_journal import UsageJournal, list_journals, read_journals
from batten.model.disk.names import Layout, is_in_flight
from batten.model.disk.runs.usage_lines import LostLine
from batten.model.disk.staged_names import StagedChunk, StagedFile, find_staged
from batten.model.rules.outcomes import find_places
from batten.model.rules.usage import Standing, Usage, UsageTally, read_recorded
from batten.model.words import Outcome
from batten.storage.base import Store
from batten.storage.relative import last_piece


def find_usage(storage: Store, observation: Observation) -> Usage | None:
    """None if no call told anything. Raises `StorageError` if a file can't be read."""
    completion = observation.completion
    if completion is not None and (known := read_recorded(completion.usage)) is not None:
        return known
    return compute_usage(storage, observation)


def compute_usage(storage: Store, observation: Observation) -> Usage | None:
    """The same from the files of all runs, whatever a record says."""
    layout = observation.layout
    if not list_journals(storage, layout):
        return None
    tally = tally_usage(storage, layout, is_running=observation.holder is not None)
    return None if tally.is_empty else tally.close(Standings(observation).find)


def tally_usage(storage: Store, layout: Layout, *, is_running: bool, but: str = "") -> UsageTally:
    """What was told in all runs, with what was in hand when they ended. If one `is_running`, that
    is the last, which has not ended; nor has the run `but`."""
    tally = UsageTally()
    for line in read_journals(storage, layout):
        tally.take(line)
    ended = list_marks(storage, layout)
    last = find_last_run_name(storage, layout) if is_running else ""
    for run, calls in ended.items():
        if run not in (but, last) and not tally.has_end(run):
            tally.lose(run, calls)
    return tally


def find_last_run_name(storage: Store, layout: Layout) -> str:
    """The last run that left anything; empty if none did."""
    names = map(last_piece, storage.list_names(layout.runs))
    return max((name.rpartition(".")[0] for name in names), default="")


def list_marks(storage: Store, layout: Layout) -> dict[str, int]:
    """How many items were in hand, by the run, where the marks are still there."""
    from batten.executors.marks import read_in_flight

    found = {}
    for name in map(last_piece, storage.list_names(layout.runs)):
        if is_in_flight(name):
            with suppress(FileNotFoundError, StorageError):
                items = read_in_flight(storage.read(f"{layout.runs}/{name}"))
                found[name.removesuffix(".inflight")] = len(items)
    return found


def record_lost_calls(storage: Store, layout: Layout, run: str, *, end: str = "") -> None:
    """Write down how many calls were in hand when runs ended, before their marks go; only for the
    run `end`, if it is said. If no call has told anything, there are no accounts to be kept. May be
    repeated."""
    if not list_journals(storage, layout):
        return
    journal = UsageJournal(storage, layout, run)
    for ended, calls in list_marks(storage, layout).items():
        if calls and (ended == end if end else ended != run):
            journal.write(LostLine(end=ended, calls=calls))


class Standings:
    """What is known of each item of a plan, by its number. Where only what is `published` counts,
    what is staged is open yet."""

    def __init__(self, observation: Observation, *, published: bool = False) -> None:
        self._observation = observation
        self._segments = observation.segments
        self._firsts = [segment.first_ordinal for segment in self._segments]
        self._quarantined: dict[int, frozenset[int]] = {}
        self._staged: dict[int, list[tuple[int, int]]] = {}
        for batch, start, stop in () if published else _list_staged(observation):
            self._staged.setdefault(batch, []).append((start, stop))

    def __contains__(self, item: object) -> bool:
        """Whether the item is open."""
        return isinstance(item, int) and self.find(item) is Standing.OPEN

    def find(self, item: int) -> Standing:
        place = bisect_right(self._firsts, item) - 1
        if place < 0:
            return Standing.OPEN
        segment = self._segments[place]
        batch, within = divmod(item - segment.first_ordinal, segment.batch_size)
        if item - segment.first_ordinal >= segment.items:
            return Standing.OPEN
        return self._find_in(segment.first_batch + batch, within)

    def _find_in(self, batch: int, item: int) -> Standing:
        observation = self._observation
        claim = observation.claims.get(batch)
        if claim is not None and batch in observation.parts:
            failed = self._quarantined.get(batch)
            if failed is None:
                failed = find_places(claim.outcomes, Outcome.QUARANTINED)
                self._quarantined[batch] = failed
            is_open = item in failed and batch in observation.reopened
            if not is_open:
                return Standing.QUARANTINED if item in failed else Standing.DONE
        elif observation.is_vouched and batch in observation.parts:
            return Standing.DONE
        is_staged = any(start <= item < stop for start, stop in self._staged.get(batch, ()))
        return Standing.DONE if is_staged else Standing.OPEN


def _list_staged(observation: Observation) -> Iterator[tuple[int, int, int]]:
    """Batches and ranges of items that are finished and not published."""
    for entry in observation.staged:
        found = find_staged(last_piece(entry.name))
        if isinstance(found, StagedChunk):
            for start, stop in found.ranges():
                yield found.batch, start, stop
        elif isinstance(found, StagedFile) and found.kind == "sealed":
            yield found.batch, 0, 1 << 62
