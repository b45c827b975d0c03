"""What the calls of a dataset used, by what became of their items.

The files of all runs are read. Where a dataset is complete, its record has the sums already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.ledger.history.usage_journal import (
    UsageJournal,
    list_journals,
    read_journal,
    read_journals,
)
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, is_in_flight
from batten.model.disk.outcomes import find_places
from batten.model.disk.records import Unreadable, decode_record
from batten.model.disk.runs.usage_lines import NO_ITEM, Amount, LostLine, UseLine, total
from batten.model.disk.runs.workers import BOARD, Register
from batten.model.disk.staged_names import StagedChunk, StagedFile, find_staged
from batten.model.rules.usage import Standing, Usage, UsageTally, read_recorded
from batten.model.words import Outcome
from batten.storage.base import Store
from batten.storage.relative import last_piece


def find_usage(storage: Store, observation: Observation) -> Usage | None:
    """None if no call told anything. Raises `StorageError` if a file can't be read."""
    completion = observation.completion
    if completion is not None and not _has_later(storage, observation.layout, completion.run):
        known = read_recorded(completion.usage)
        if known is not None:
            return known
    return compute_usage(storage, observation)


def _has_later(storage: Store, layout: Layout, run: str) -> bool:
    """Whether something was told since the dataset was complete: of another one that was begun to
    take its place, and given up."""
    if storage.folder is None:
        return False
    last = max(list_journals(storage, layout), default="")
    return last_piece(last) > f"{run}.usage"


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
    left = {} if is_running else list_left(storage, layout, but=but)
    for end, calls in (ended | left).items():
        if end not in (but, last) and not tally.has_end(end):
            tally.lose(end, calls)
    return tally


def find_last_run_name(storage: Store, layout: Layout) -> str:
    """The last run that left anything; empty if none did."""
    names = map(last_piece, storage.list_names(layout.runs))
    return max((name.rpartition(".")[0] for name in names), default="")


def list_marks(storage: Store, layout: Layout) -> dict[str, int]:
    """How many items were in hand at most, by the run, where the marks are still there. Of marks
    that can't be read nobody knows, so all that there is room for counts."""
    found = {}
    for name in map(last_piece, storage.list_names(layout.runs)):
        if is_in_flight(name):
            with suppress(FileNotFoundError):
                calls = _count_marks(storage, f"{layout.runs}/{name}")
                found[name.removesuffix(".inflight")] = calls
    return found


def name_leaving(worker: str) -> str:
    """The end of a worker on another machine, in the accounts: it is one end, whoever tells it."""
    return f"{worker} left"


def list_left(storage: Store, layout: Layout, *, but: str) -> dict[str, int]:
    """How many calls workers of other machines may have had in hand, by their ends, whose registers
    are still there though their runs are not; those of the run `but` may live. A dataset beside
    this one has runs of its own. Of a register that can't be read nobody knows, so one counts."""
    found: dict[str, int] = {}
    registers = list(storage.list_names(layout.workers))
    if not registers:
        return found
    logs = set(map(last_piece, storage.list_names(layout.runs)))
    for piece in registers:
        worker, dot, suffix = last_piece(piece).rpartition(".")
        if not dot or suffix != "json" or worker == BOARD:
            continue
        try:
            register = decode_record(Register, storage.read(f"{layout.workers}/{worker}.json"))
        except FileNotFoundError:
            continue
        except (StorageError, Unreadable):
            found[name_leaving(worker)] = 1
            continue
        if register.run != but and last_piece(layout.run_log(register.run)) in logs:
            found[name_leaving(worker)] = sum(begun.calls for begun in register.begins)
    return {end: calls for end, calls in found.items() if calls}


def _count_marks(storage: Store, name: str) -> int:
    from batten.executors.marks import count_in_flight, count_slots

    try:
        return count_in_flight(storage.read(name, bytes_max=RECORD_BYTES_MAX["in flight"]))
    except StorageError:
        with suppress(StorageError):
            entry = storage.find(name)
            return count_slots(entry.size) if entry is not None else 0
        return 1


def record_lost_calls(storage: Store, layout: Layout, run: str, *, end: str = "") -> None:
    """Write down how many calls were in hand when runs ended, and when their workers on other
    machines did, before marks and registers go; only for the run `end`, if it is said. It is done
    also where no call has told anything yet: one that comes may. May be repeated."""
    journal = UsageJournal(storage, layout, run)
    for ended, calls in list_marks(storage, layout).items():
        if calls and (ended == end if end else ended != run):
            journal.write(LostLine(end=ended, calls=calls))
    for left, calls in list_left(storage, layout, but=run).items() if not end else ():
        journal.write(LostLine(end=left, calls=calls))


def carry_usage(storage: Store, layout: Layout, into: Layout, run: str) -> None:
    """What the calls of a dataset used that is given up goes to the accounts of another one, once:
    run by run, by the name of the run, so that it may be repeated where it was killed."""
    journal, tally = UsageJournal(storage, into, run), UsageTally()
    for name in list_journals(storage, layout):
        tally.told = {}
        for line in read_journal(storage, name):
            tally.take(line)
        if tally.told:
            answer = f"given up {last_piece(name).removesuffix('.usage')}"
            line = UseLine(item=NO_ITEM, attempt="", used=tally.told, answer=answer)
            journal.write(line)
    for ended, calls in list_marks(storage, layout).items():
        tally.lose(ended, calls)
    for end, calls in tally.list_ends():
        if calls:
            journal.write(LostLine(end=end, calls=calls))
    journal.sync()


def sum_by_item(storage: Store, layout: Layout) -> dict[int, dict[str, Amount]]:
    """All that the calls of each item used, whatever became of it, by its number in the plan."""
    sums: dict[int, dict[str, Amount]] = {}
    seen: set[tuple[int, str]] = set()
    for line in read_journals(storage, layout):
        if not isinstance(line, UseLine) or line.item == NO_ITEM:
            continue
        if line.answer:
            if (line.item, line.answer) in seen:
                continue
            seen.add((line.item, line.answer))
        sums[line.item] = total((sums.get(line.item, {}), line.used))
    return sums


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
