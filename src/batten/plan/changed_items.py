"""What a look at the source found of the versions of planned items, and what becomes of that.

See decision 0089.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from batten.errors import RefusedError
from batten.model.disk.items.versions import (
    GONE,
    UNKNOWN,
    VERSION_BYTES,
    Versions,
)
from batten.model.telling.sizes import show_bytes
from batten.plan.plan import Plan

PAYLOAD_BYTES_MAX = 1 << 28


@dataclass(kw_only=True)
class Differences:
    """Numbers of items in the plan, and their versions of now, in parallel: those that have changed
    or gone, and those of which no version was known. Grows with these alone."""

    has_kinds: bool
    names_place: Callable[[int], bool] = lambda item: False
    """Whether the key of an item is only its place: it is of an item without a key."""
    touches_parts: bool = False
    """Whether parts that are published are to be made anew."""
    changed: int = 0
    removed: int = 0
    other_kinds: int = 0
    items: array[int] = field(default_factory=lambda: array("q"))
    versions: bytearray = field(default_factory=bytearray)
    are_changes: bytearray = field(default_factory=bytearray)
    payloads: dict[int, bytes] = field(default_factory=dict)
    _payload_bytes: int = 0

    def compare(
        self,
        first: int,
        planned: bytes,
        count: int,
        found: bytes | None,
        payloads: Sequence[bytes] | None = None,
    ) -> None:
        """Those of consecutive items from number `first`, which are there. None are `found` where
        versions are not looked at."""
        found = UNKNOWN * count if found is None else found[: count * VERSION_BYTES]
        if planned == found:
            return
        for place in range(0, len(found), VERSION_BYTES):
            now = found[place : place + VERSION_BYTES]
            was = planned[place : place + VERSION_BYTES]
            if was != now and self._take(first + place // VERSION_BYTES, was, now) and payloads:
                number = place // VERSION_BYTES
                self._keep_payload(first + number, payloads[number])

    def _keep_payload(self, item: int, payload: bytes) -> None:
        self.payloads[item] = payload
        self._payload_bytes += len(payload)
        if self._payload_bytes > PAYLOAD_BYTES_MAX:
            raise RefusedError(
                f"More than {show_bytes(PAYLOAD_BYTES_MAX)} of items that the plan keeps have "
                "changed, which is more than it takes up at once.",
                safe="Nothing was changed.",
                next="Give from_items a list of the items, which are not kept; or compute all "
                "anew: --fresh.",
            )

    def list_changed(self) -> set[int]:
        """The numbers of the items that have changed or gone."""
        pairs = zip(self.items, self.are_changes, strict=True)
        return {item for item, is_change in pairs if is_change}

    def take_gone(self, item: int) -> None:
        # What has no key never had rows, so no row of its batch is another one.
        self._add(item, GONE, is_change=not self.names_place(item))
        self.touches_parts = True
        self.removed += 1

    def _take(self, item: int, was: bytes, now: bytes) -> bool:
        """Whether it has changed."""
        if now == UNKNOWN and was != GONE:
            return False
        is_of_other_kind = self.has_kinds and was[:1] != now[:1] and was not in (GONE, UNKNOWN)
        is_back = was == GONE and self.names_place(item)
        is_change = was != UNKNOWN and not is_of_other_kind and not is_back
        self.touches_parts |= is_change or is_back
        self.other_kinds += is_of_other_kind
        self.changed += is_change
        self._add(item, now, is_change=is_change)
        return is_change

    def _add(self, item: int, version: bytes, *, is_change: bool) -> None:
        self.items.append(item)
        self.versions += version
        self.are_changes.append(is_change)


def find_batches(plan: Plan, items: Iterable[int]) -> set[int]:
    """The batches that hold these items."""
    batches = set()
    for item in items:
        segment = plan.segments[_place_of(plan, item)]
        batches.add(segment.first_batch + (item - segment.first_ordinal) // segment.batch_size)
    return batches


def revise(
    plan: Plan, found: Differences, published_revision: Callable[[int], int]
) -> Iterator[tuple[int, Versions]]:
    """The versions of segments in which something differs, by the number of the segment. Those that
    changed are of a later revision than what is planned and published of their batch."""
    by_segment: dict[int, list[int]] = {}
    for place, item in enumerate(found.items):
        by_segment.setdefault(_place_of(plan, item), []).append(place)
    for number in sorted(by_segment):
        segment = plan.segments[number]
        kept = plan.versions(segment)
        versions = bytearray(kept.versions if kept else UNKNOWN * segment.items)
        revisions = array("I", kept.revisions if kept else ())
        revisions = revisions or array("I", bytes(4 * segment.items))
        planned = {}
        for place in by_segment[number]:
            own = found.items[place] - segment.first_ordinal
            at = slice(own * VERSION_BYTES, (own + 1) * VERSION_BYTES)
            versions[at] = found.versions[place * VERSION_BYTES : (place + 1) * VERSION_BYTES]
            if found.are_changes[place]:
                index = own // segment.batch_size
                if index not in planned:
                    start = index * segment.batch_size
                    latest = max(revisions[start : start + segment.batch_size])
                    published = published_revision(segment.first_batch + index)
                    planned[index] = max(latest, published) + 1
                revisions[own] = planned[index]
        yield number, Versions(versions=bytes(versions), revisions=revisions)


def revise_values(plan: Plan, found: Differences) -> Iterator[tuple[int, dict[int, bytes]]]:
    """The items that have changed since they were planned, by the number of the segment, where the
    plan keeps them."""
    by_segment: dict[int, dict[int, bytes]] = {}
    for item, payload in found.payloads.items():
        number = _place_of(plan, item)
        segment = plan.segments[number]
        if number not in by_segment:
            by_segment[number] = dict(plan.later_values(segment))
        by_segment[number][item - segment.first_ordinal] = payload
    yield from sorted(by_segment.items())


def _place_of(plan: Plan, item: int) -> int:
    """The segment of an item. Segments may be empty: the last that begins there has it."""
    return bisect_right(plan.segments, item, key=lambda segment: segment.first_ordinal) - 1
