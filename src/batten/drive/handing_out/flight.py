"""Items that were in hand when whole runs crashed: those found so too often are not tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress

from batten.errors import StorageError
from batten.executors.marks import read_in_flight, was_draining
from batten.ledger.history.usage import record_lost_calls
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, is_in_flight
from batten.model.json_text import parse_json
from batten.model.value_class import value_class
from batten.plan.plan import Plan
from batten.storage.base import Entry, Store
from batten.storage.changing.publishing import delete
from batten.storage.local.locking.locks import current_holder
from batten.storage.relative import last_piece
from batten.work.calling.calls import Failure

CRASHES_MAX = 3

COMPANY_SHARE = 8
"""Suspects are tried an eighth at a time, so that each further crash leaves an eighth of them."""


@value_class
class Blame:
    """What crashes of the whole run are blamed on, by the items' numbers in the plan.

    `condemned` are not tried any more: in hand at three crashes, at one of them nothing else.
    `suspects` were in hand at three crashes, each time with others, who may be innocent: they are
    tried again, with no more than so many items in hand."""

    condemned: Mapping[int, Failure]
    suspects: Mapping[int, int]

    def __bool__(self) -> bool:
        return bool(self.condemned or self.suspects)


def find_blame(storage: Store, layout: Layout, plan: Plan) -> Blame:
    """What is to blame, by what was in hand when runs were killed.

    A run that stopped in any orderly way left no marks. One that was killed while it was to stop
    blames no item: it may have been killed for taking too long. Crashes before the machine last
    started don't count: a power cut is no item's fault."""
    crashes: Counter[int] = Counter()
    alone: set[int] = set()
    for items in _read_tables(storage, layout):
        crashes.update(items)
        if len(items) == 1:
            alone |= items
    counts = {item: count for item, count in crashes.items() if count >= CRASHES_MAX}
    condemned, suspects = {}, {}
    for item, count in counts.items():
        batch = plan.batch_of_item(item)
        if batch is not None and item in alone:
            condemned[item] = Failure(
                item=item - plan.batch(batch).first_item,
                error=f"the item was in hand at {count} crashes of the whole run",
                trace="",
                attempts=count,
            )
        elif batch is not None:
            as_often = sum(other >= count for other in counts.values())
            suspects[item] = max(1, as_often // COMPANY_SHARE)
    return Blame(condemned=condemned, suspects=suspects)


def _read_tables(storage: Store, layout: Layout) -> Iterator[set[int]]:
    """The items in hand at each crash."""
    boot = current_holder().boot
    for entry in _list_tables(storage, layout):
        log = entry.name.removesuffix(".inflight") + ".jsonl"
        if _find_boot(storage, log) != boot:
            continue
        with suppress(FileNotFoundError, StorageError):
            data = _read(storage, entry.name)
            if not was_draining(data):
                yield set(read_in_flight(data))


def forget(storage: Store, layout: Layout, run: str) -> None:
    """Every item came to an end, so what was in hand at crashes says nothing about the next. How
    many calls that were is kept in what this `run` tells."""
    record_lost_calls(storage, layout, run)
    for entry in list(_list_tables(storage, layout)):
        delete(storage, entry.name)


def forget_crashes_with(storage: Store, layout: Layout, items: Set[int], run: str) -> None:
    """These items are others now, so crashes with them in hand say nothing about the next. How
    many calls that were is kept in what this `run` tells."""
    record_lost_calls(storage, layout, run)
    for entry in list(_list_tables(storage, layout)):
        with suppress(FileNotFoundError, StorageError):
            if not items.isdisjoint(read_in_flight(_read(storage, entry.name))):
                delete(storage, entry.name)


def _read(storage: Store, name: str) -> bytes:
    return storage.read(name, bytes_max=RECORD_BYTES_MAX["in flight"])


def _list_tables(storage: Store, layout: Layout) -> Iterator[Entry]:
    for entry in storage.list(layout.runs):
        if entry.is_file and is_in_flight(last_piece(entry.name)):
            yield entry


def _find_boot(storage: Store, log: str) -> str | None:
    try:
        first = storage.read(log, length=4096).split(b"\n", 1)[0]
        value = parse_json(first)
        return str(value["boot"])
    except (FileNotFoundError, StorageError, ValueError, KeyError, TypeError):
        return None
