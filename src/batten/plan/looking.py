"""A look at a source of batches: what has the digest of before is taken from the plan, not read.

What was seen is kept beside the plan, and held against the source by the next look (decision 0093).
It never says more than the plan does. So it goes before versions in the plan are replaced, and is
written last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from batten.ledger.upstream import load_looked
from batten.model.disk.items.versions import GONE, VERSION_BYTES
from batten.model.disk.looked import RUNS_MAX, LookedBatch, LookedUpstream
from batten.model.disk.names import Layout
from batten.model.disk.records import encode_record
from batten.plan.plan import Plan
from batten.sources.base import (
    POSITION_BITS,
    SCAN_BLOCK_ITEMS,
    BatchedSource,
    ScanBlock,
    Source,
    SourceBatch,
    is_batched,
)
from batten.storage.base import Store
from batten.storage.changing.publishing import replace


@dataclass
class _Trail:
    """The items of the plan that a batch has, as runs, noted as its rows pass."""

    batch: SourceBatch
    runs: list[int] = field(default_factory=list)
    given: int = 0
    """How many rows were given, of which nothing was noted yet."""

    def note(self, first: int, count: int) -> None:
        self.given -= count
        runs = self.runs
        if runs and runs[-2] + runs[-1] == first:
            runs[-1] += count
        else:
            runs += (first, count)


class UpstreamLook:
    """One look at a source of batches, and what the look before it had seen."""

    def __init__(self, source: BatchedSource, storage: Store, layout: Layout, plan: Plan) -> None:
        self._source, self._storage, self._layout, self._plan = source, storage, layout, plan
        self._identity = json.dumps(source.identity)
        found = load_looked(storage, layout) if storage.folder is not None else None
        if found is not None and (found.source != self._identity or found.items > plan.items):
            found = None
        self._before = found
        self._state = ""
        self._trails: list[_Trail] = []
        self._noted = 0
        self._is_ended = False

    def find_same(self) -> bool:
        """Whether nothing need be looked at: all is as it was, where the plan says. Raises what
        `begin_look` of the source does."""
        self._state = self._source.begin_look()
        before = self._before
        return (
            before is not None
            and before.complete == self._state
            and before.items == self._plan.items
            and before.drops_gone
            and self._source.drops_gone
            and not before.has_moved
        )

    def scan(self) -> Iterator[ScanBlock]:
        """All items in order, in which each is to be noted, or passed over."""
        known = {each.number: each for each in self._before.batches} if self._before else {}
        for batch in self._source.list_batches():
            self._trails.append(_Trail(batch))
            same = known.get(batch.number)
            is_same = same is not None and batch.is_same(same.digest, same.rows)
            blocks = self._take_from_plan(same) if same and is_same and same.is_whole else None
            for block in self._source.scan_batch(batch) if blocks is None else blocks:
                self._trails[-1].given += block.count
                yield block
        self._source.end_look(self._state)
        self._is_ended = True

    def note(self, first: int, count: int = 1) -> None:
        """The next rows, of one block, are these items of the plan."""
        self._find_trail().note(first, count)

    def pass_over(self) -> None:
        """The next row is of an item that came before."""
        self._find_trail().given -= 1

    def _find_trail(self) -> _Trail:
        while not self._trails[self._noted].given:
            self._noted += 1
        return self._trails[self._noted]

    def forget(self) -> None:
        """Before versions in the plan are replaced."""
        folder = self._storage.folder
        if folder is not None and folder.find(self._layout.upstream) is not None:
            folder.delete(self._layout.upstream)
            folder.sync_names(self._layout.plan)
            self._before = None

    def keep(self, items: int, *, has_moved: bool) -> None:
        """What was seen, now that the plan has so many items and all of it is durable."""
        if self._storage.folder is None or not self._is_ended:
            return
        left = 2 * RUNS_MAX
        batches = []
        for trail in self._trails:
            left -= len(trail.runs)
            of = trail.batch
            runs = trail.runs if left >= 0 else []
            batches.append(LookedBatch(number=of.number, digest=of.digest, rows=of.rows, runs=runs))
        seen = LookedUpstream(
            path=self._name_place(),
            source=self._identity,
            complete=self._state,
            items=items,
            has_moved=has_moved,
            drops_gone=self._source.drops_gone,
            batches=batches,
        )
        if seen != self._before:
            data = encode_record(seen)
            replace(self._storage, self._layout.staging, self._layout.upstream, data)

    def _name_place(self) -> str:
        """From the folder of the output; of an address, the address."""
        place = self._source.place
        return place if isinstance(place, str) else os.path.relpath(place, self._storage.place)

    def _take_from_plan(self, looked: LookedBatch) -> list[ScanBlock] | None:
        """The blocks of a batch that is as it was; None where the plan holds some item of it for
        gone."""
        blocks = []
        row = 0
        base = looked.number << POSITION_BITS
        for first, count in zip(looked.runs[::2], looked.runs[1::2], strict=True):
            for start in range(first, first + count, SCAN_BLOCK_ITEMS):
                stop = min(first + count, start + SCAN_BLOCK_ITEMS)
                versions = self._plan.list_versions(start, stop)
                if GONE in versions and _has_gone(versions):
                    return None
                positions = range(base + row, base + row + stop - start)
                row += stop - start
                keys = list_keys(self._plan, start, stop)
                blocks.append(
                    ScanBlock(count=len(keys), keys=keys, positions=positions, digests=versions)
                )
        return blocks


def list_keys(plan: Plan, start: int, stop: int) -> list[str]:
    """Those of items `start` to `stop` of the plan."""
    keys: list[str] = []
    number = plan.batch_of_item(start)
    while number is not None and len(keys) < stop - start:
        batch = plan.batch(number)
        first = start + len(keys) - batch.first_item
        count = min(batch.items - first, stop - start - len(keys))
        keys += plan.key_column(batch).slice(first, count).to_pylist()
        number += 1
    return keys


def _has_gone(versions: bytes) -> bool:
    starts = range(0, len(versions), VERSION_BYTES)
    return any(versions[at : at + VERSION_BYTES] == GONE for at in starts)


def begin_upstream(
    source: Source, storage: Store, layout: Layout, plan: Plan
) -> UpstreamLook | None:
    """None where the source has no batches that tell."""
    if not is_batched(source):
        return None
    return UpstreamLook(source, storage, layout, plan)
