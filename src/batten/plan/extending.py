"""Making and extending the plan: one look at the source, what is new goes to the end."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest

from batten.errors import RefusedError
from batten.model.disk.items.versions import GONE
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.plan.changed_items import Differences, revise, revise_values
from batten.plan.changed_rows import PlannedRows, refuse_shrunk
from batten.plan.keys.new_or_duplicate import DUPLICATE, KeyShards, Known
from batten.plan.keys.still_as_planned import PlannedKeys
from batten.plan.looking import begin_upstream
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.plan.storing import Row, Storing, encode_segment, make_segment
from batten.sources.base import ScanBlock, Source
from batten.sources.identity.digests import split_digests
from batten.storage.base import Store

SEGMENT_ITEMS = 1 << 16
"""At most about so many items go into one segment, since it is made in memory."""

SEGMENT_BYTES = 1 << 25
"""A segment ends with the batch in which its payloads reach this size."""

DUPLICATE_EXAMPLES = 10


def foresee_plan(
    source: Source, plan: Plan, limit: int | None, *, ways_on: str
) -> tuple[int, SourceLook]:
    """How many items a plan would gain now, and what else was seen. Writes nothing; raises as
    `extend_plan` does."""
    look = _begin_look(source, plan, ways_on)
    look.upstream = begin_upstream(source, plan.storage, plan.layout, plan)
    return sum(1 for _ in _new_rows(source, plan, limit, look)), look


def compare_keys(source: Source, plan: Plan) -> tuple[list[str], SourceLook]:
    """The keys that a source with keys has and the plan has not, and what else was seen. Writes
    nothing; raises what the source does."""
    look = _begin_look(source, plan, "compute all anew")
    return [row[0] or "" for row in _find_new_keyed(source, plan, look)], look


def _begin_look(source: Source, plan: Plan, ways_on: str) -> SourceLook:
    differences = Differences(has_kinds=source.has_kinds, names_place=plan.names_place)
    return SourceLook(ways_on=ways_on, differences=differences)


@value_class
class WhoPlans:
    """What a run is told while it plans, and what it is asked. What these raise ends the planning.

    Attributes:
        before_change: Called before anything is written.
        before_revision: Called with the numbers of items that have changed or gone.
        published_revision: Gives the revision of the part of a batch; 0 where there is none.
        between_blocks: Called now and then.
    """

    before_change: Callable[[], None]
    before_revision: Callable[[set[int]], None] = lambda items: None
    published_revision: Callable[[int], int] = lambda batch: 0
    between_blocks: Callable[[], None] = lambda: None


def extend_plan(
    storage: Store,
    layout: Layout,
    source: Source,
    plan: Plan,
    batch_size: int,
    *,
    limit: int | None = None,
    ways_on: str,
    who: WhoPlans,
) -> tuple[Plan, SourceLook]:
    """The plan with all items of the source in it, and what was seen.

    Durable when it returns. A crash in the middle leaves a shorter plan, which the next call
    extends to the same. Items are never taken out: a key that the source no longer has is kept,
    or marked as gone where the source says so. Without keys, a source that did not only grow raises
    `SourceDiffersError`, in which `ways_on` says how to compute all anew. With a `limit`, the
    plan holds at most so many items.
    """
    look = _begin_look(source, plan, ways_on)
    look.between_blocks = who.between_blocks
    look.upstream = begin_upstream(source, storage, layout, plan)
    storing = Storing(plan, who.before_change)
    count = source.count_items()
    if count is not None and source.is_counted:
        segments = _extend_by_count(storing, plan, batch_size, count, limit, look)
        return Plan(storage, layout, segments, storing.revised), look
    rows = _new_rows(source, plan, limit, look)
    segments = list(plan.segments)
    per_segment = max(batch_size, SEGMENT_ITEMS // batch_size * batch_size)
    while taken := _take(rows, per_segment, batch_size):
        segment, data = encode_segment(segments, taken, batch_size, look, source.is_keyed)
        storing.store(segment, data, b"".join([row[3] or b"" for row in taken]))
        segments.append(segment)
    for number, digests in look.unproven.items():
        storing.prove(number, digests)
    for segment, own in storing.contested:
        first, stop = segment.first_ordinal, segment.first_ordinal + segment.items
        known = Plan(storage, layout, segments, storing.revised).list_versions(first, stop)
        look.differences.compare(first, known, segment.items, own)
    if look.differences.items:
        _revise(storing, Plan(storage, layout, segments, storing.revised), plan, look, who)
    last = segments[-1] if segments else None
    look.duplicates = max(look.duplicates, plan.duplicates)
    if last is None or (last.duplicates, last.is_limited) != (look.duplicates, look.is_limited):
        segment, data = encode_segment(segments, [], batch_size, look, source.is_keyed)
        storing.store(segment, data)
        segments.append(segment)
    extended = Plan(storage, layout, segments, storing.revised)
    if look.upstream is not None and not look.is_limited:
        look.upstream.keep(extended.items, has_moved=look.positions is not None)
    if look.positions is not None:
        for number in range(plan.batches, extended.batches):
            batch = extended.batch(number)
            look.positions.extend(extended.wanted(batch, 0, batch.items).positions or ())
        extended.moved_positions = look.positions
    return extended, look


def _revise(
    storing: Storing,
    plan: Plan,
    before: Plan,
    look: SourceLook,
    who: WhoPlans,
) -> None:
    """From now on the versions that were found are wanted. `before` is the plan as it was found,
    of which there may be parts."""
    if changed := {item for item in look.differences.list_changed() if item < before.items}:
        who.before_revision(changed)
    if look.upstream is not None:
        look.upstream.forget()
    # First: what is computed of a later item under its earlier version is computed again.
    for number, values in revise_values(plan, look.differences):
        storing.revise_values(number, values)
    for number, versions in revise(plan, look.differences, who.published_revision):
        storing.revise(number, versions, is_change=look.differences.touches_parts)


def _extend_by_count(
    storing: Storing,
    plan: Plan,
    batch_size: int,
    count: int,
    limit: int | None,
    look: SourceLook,
) -> list[Segment]:
    look.seen = count
    refuse_shrunk(plan, count, look.ways_on)
    target = count if limit is None else max(plan.items, min(limit, count))
    look.is_limited = target < count
    segments = list(plan.segments)
    if target > plan.items or not segments or plan.is_limited != look.is_limited:
        segment = make_segment(segments, target - plan.items, batch_size, look, is_keyed=False)
        storing.store(segment, b"")
        segments.append(segment)
    return segments


def _new_rows(source: Source, plan: Plan, limit: int | None, look: SourceLook) -> Iterator[Row]:
    """The items that the plan does not have, in the order of the source; fills in `look`."""
    find_new = _find_new_keyed if source.is_keyed else _find_new_ordinals
    planned = plan.items
    for row in find_new(source, plan, look):
        if limit is not None and planned >= limit:
            look.is_limited = True
            return
        planned += 1
        yield row


def _scan(source: Source, look: SourceLook) -> Iterator[ScanBlock]:
    for block in source.scan() if look.upstream is None else look.upstream.scan():
        look.between_blocks()
        look.seen += block.count
        yield block


def _rows_of(block: ScanBlock) -> Iterator[Row]:
    nothing = [None] * block.count
    return zip(
        block.keys or nothing,
        block.positions or nothing,
        block.payloads or nothing,
        nothing if block.digests is None else split_digests(block.digests),
        strict=True,
    )


def _find_new_ordinals(source: Source, plan: Plan, look: SourceLook) -> Iterator[Row]:
    planned = PlannedRows(plan, source.identity["source"], look.ways_on)
    for block in _scan(source, look):
        known = planned.take(block)
        look.positions, look.unproven = planned.positions, planned.unproven
        if known < block.count:
            yield from islice(_rows_of(block), known, None)
    planned.end()


def _find_new_keyed(source: Source, plan: Plan, look: SourceLook) -> Iterator[Row]:
    """While the source and the plan agree key by key, nothing is remembered; from the first
    difference on, all planned keys are compared with those of the source, shard by shard."""
    if look.upstream is not None and look.upstream.find_same():
        look.seen = plan.items
        return
    same, rows = _skip_same(_scan(source, look), plan, look)
    pending = next(rows, None)
    if pending is None:
        _take_gone(range(same, plan.items), plan, source, look)
        return
    with KeyShards() as shards:
        for number, (planned_key, position, version) in enumerate(_planned_rows(plan)):
            known = (number, -1 if position is None else position, version)
            shards.add_planned(planned_key, known, is_met=number < same)
        yield from _sort_out(shards.look_up(chain((pending,), rows)), same, plan, source, look)


def _sort_out(
    found: Iterator[tuple[Row, Known | None]],
    same: int,
    plan: Plan,
    source: Source,
    look: SourceLook,
) -> Iterator[Row]:
    """The rows that are new. Of the others it is noted what has become of their items, and of the
    items that have no row any more."""
    count = plan.items
    is_found = bytearray(count // 8 + 1)
    for row, known in found:
        if known is None:
            look.note(count)
            count += 1
            yield row
        elif known is DUPLICATE:
            look.pass_over()
            look.duplicates += 1
            if len(look.examples) < DUPLICATE_EXAMPLES:
                look.examples.append(row[0] or "")
        else:
            number, position, version = known
            is_found[number >> 3] |= 1 << (number & 7)
            look.note(number)
            payloads = None if row[2] is None else [row[2]]
            look.differences.compare(number, version, 1, row[3], payloads)
            if row[1] is not None and position != row[1]:
                if look.positions is None:
                    look.positions = plan.positions(0, plan.items) or array("q", [-1]) * plan.items
                look.positions[number] = row[1]
    missing = (
        item for item in range(same, plan.items) if not is_found[item >> 3] >> (item & 7) & 1
    )
    _take_gone(missing, plan, source, look)


def _take_gone(
    missing: Iterable[int],
    plan: Plan,
    source: Source,
    look: SourceLook,
) -> None:
    """What the source does not have of the plan, unless it was marked before. A place where no item
    without a key is any more goes in any case: whatever was there has a key now, or is elsewhere
    (decision 0098)."""
    count = 0
    for item in missing:
        if plan.list_versions(item, item + 1) == GONE:
            continue
        if plan.names_place(item):
            look.differences.take_gone(item)
            continue
        count += 1
        if source.drops_gone:
            look.differences.take_gone(item)
    if not source.drops_gone:
        look.gone = count
    elif count and not look.seen and look.upstream is None:
        raise RefusedError(
            f"The source is empty now, and the rows of all its {count_of(count, 'item')} would go: "
            "removed='drop'.",
            safe="Nothing was changed.",
            next="See whether what it reads is there, a disk that is not mounted for instance; or "
            f"keep the rows: removed='keep'; or {look.ways_on}.",
        )


def _skip_same(
    blocks: Iterator[ScanBlock], plan: Plan, look: SourceLook
) -> tuple[int, Iterator[Row]]:
    """In how many items source and plan agree, and the rows of the source from there on. Whole
    blocks are compared at once."""
    planned, differences = PlannedKeys(plan), look.differences
    same = 0
    for block in blocks:
        if planned.match(block):
            versions = plan.list_versions(same, same + block.count)
            differences.compare(same, versions, block.count, block.digests, block.payloads)
            look.note(same, block.count)
            same += block.count
            continue
        known = (each[:2] for each in islice(_planned_rows(plan), same, None))
        found = ((row[0], row[1]) for row in _rows_of(block))
        pairs = enumerate(zip_longest(found, islice(known, block.count)))
        differs = next(n for n, (a, b) in pairs if a != b)
        rest = islice(_rows_of(block), differs, None)
        versions = plan.list_versions(same, same + differs)
        differences.compare(same, versions, differs, block.digests, block.payloads)
        if differs:
            look.note(same, differs)
        return same + differs, chain(rest, chain.from_iterable(map(_rows_of, blocks)))
    return same, iter(())


def _planned_rows(plan: Plan) -> Iterator[tuple[str, int | None, bytes]]:
    """The key, position and version of each item."""
    for number in range(plan.batches):
        batch = plan.batch(number)
        wanted = plan.wanted(batch, 0, batch.items)
        keys = wanted.keys or ()
        positions: Sequence[int | None] = wanted.positions or [None] * len(keys)
        versions = split_digests(plan.list_versions(batch.first_item, batch.first_item + len(keys)))
        yield from zip(keys, positions, versions, strict=True)


def _take(rows: Iterator[Row], most: int, batch_size: int) -> list[Row]:
    """The rows of the next segment."""
    taken = []
    size = 0
    for row in rows:
        taken.append(row)
        size += len(row[2] or b"")
        is_whole = len(taken) % batch_size == 0
        if len(taken) == most or (is_whole and size >= SEGMENT_BYTES):
            break
    return taken
