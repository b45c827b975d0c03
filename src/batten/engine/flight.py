"""Items that were in hand when whole runs crashed: those found so too often are not tried again."""

from __future__ import annotations

import json
from collections import Counter

from batten.engine.calls import Failure
from batten.engine.plan import Plan
from batten.errors import StorageError
from batten.executors.marks import read_in_flight
from batten.model.names import Layout
from batten.storage.base import Storage
from batten.storage.locks import current_holder

CRASHES_MAX = 3


def find_condemned(storage: Storage, layout: Layout, plan: Plan) -> dict[int, Failure]:
    """Items, by their number in the plan, that were in hand at three crashes of the whole run.

    A run that stopped in any orderly way left no marks. Crashes before the machine last started
    don't count: a power cut is no item's fault."""
    boot = current_holder().boot
    crashes: Counter[int] = Counter()
    for entry in storage.list(layout.runs):
        if not entry.name.endswith(".inflight"):
            continue
        log = entry.name.removesuffix(".inflight") + ".jsonl"
        if _find_boot(storage, log) != boot:
            continue
        try:
            crashes.update(set(read_in_flight(storage.read(entry.name))))
        except (FileNotFoundError, StorageError):
            continue
    condemned = {}
    for item, count in crashes.items():
        batch = plan.batch_of_item(item)
        if count >= CRASHES_MAX and batch is not None:
            condemned[item] = Failure(
                item=item - plan.batch(batch).first_item,
                error=f"the item was in hand at {count} crashes of the whole run",
                trace="",
                attempts=count,
            )
    return condemned


def forget(storage: Storage, layout: Layout) -> None:
    """Every item came to an end, so what was in hand at crashes says nothing about the next."""
    for entry in list(storage.list(layout.runs)):
        if entry.name.endswith(".inflight"):
            storage.delete(entry.name)


def _find_boot(storage: Storage, log: str) -> str | None:
    try:
        first = storage.read(log, length=4096).split(b"\n", 1)[0]
        value = json.loads(first)
        return str(value["boot"])
    except (FileNotFoundError, StorageError, ValueError, KeyError, TypeError):
        return None
