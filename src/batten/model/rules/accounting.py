"""The accounts of a dataset: source = committed + filtered + quarantined + duplicates, by key.

Counts can agree where keys do not: as many rows as items, but of other items. So the accounts are
kept by key. The plan says which items a batch has: how many, and a digest of their keys in order. A
part says the same of itself, with the outcome of each item. A batch is accounted for if number,
digest and outcomes agree. The accounts close if that is so of every batch of the plan, and if
nothing is published beyond it. Duplicates are counted when the plan is made, since they never get
into a batch. What was removed with its rows stays in the plan, and is the source's no more. Nothing
here reads a row: two short texts are compared for each batch (decision 0008).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from batten.model.disk.items.key_digests import describe_ordinals
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import count_outcomes
from batten.model.disk.records import Completion, Segment
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import Outcome


@value_class
class Accounts:
    """How many items there are of each sort; all but `source` add up to `source`.

    Attributes:
        source: Items of the source, duplicates included.
        committed: Items whose rows are published and durable.
        filtered: Items that gave no row.
        quarantined: Items that failed for good.
        duplicate: Items whose key came before.
        staged: Items that are finished and not published yet.
        pending: Items that are neither.
        removed: Planned items that the source no longer has, and whose rows went: none of `source`.
        adopted: Those of `committed` whose rows a hand-made job had made; the others were computed.
    """

    source: int
    committed: int
    filtered: int
    quarantined: int
    duplicate: int
    staged: int
    pending: int
    removed: int = 0
    adopted: int = 0

    def show(self) -> str:
        """Write them as the sum that they are.

        Returns:
            `1,000 = 998 committed + 1 filtered + 1 quarantined + 0 duplicate`, and what is open
            and gone.
        """
        text = (
            f"{self.source:,} = {self.committed:,} committed + {self.filtered:,} filtered + "
            f"{self.quarantined:,} quarantined + {self.duplicate:,} duplicate"
        )
        if self.staged or self.pending:
            text += f" + {self.staged:,} staged + {self.pending:,} pending"
        if self.adopted:
            text += f"; {self.adopted:,} adopted, {self.committed - self.adopted:,} computed"
        if self.removed:
            text += f"; {self.removed:,} removed, gone from the source"
        return text


class PlannedBatch(NamedTuple):
    """A batch by the plan: batch `position` of `segment`; `keys` stands for its keys."""

    batch: int
    segment: int
    position: int
    first_ordinal: int
    items: int
    keys: str


class Claim(Protocol):
    """What a commit record, or a part's own footer, says of a published batch."""

    @property
    def batch(self) -> int: ...

    @property
    def items(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def outcomes(self) -> str: ...

    @property
    def keys(self) -> str: ...


def find_plan_gap(layout: Layout, segments: Sequence[Segment]) -> Finding | None:
    """The first segment that does not follow the one before it, or None."""
    batch = ordinal = duplicates = 0
    for number, segment in enumerate(segments):
        found = (segment.number, segment.first_batch, segment.first_ordinal)
        wanted = (number, batch, ordinal)
        evidence = None
        if found != wanted:
            evidence = f"segment, first batch and first ordinal are {found}, not {wanted}"
        elif segment.items < 0 or segment.batch_size < 1 or segment.duplicates < duplicates:
            evidence = "its numbers are impossible"
        elif segment.is_keyed and len(segment.keys) != segment.batches:
            evidence = f"it describes the keys of {len(segment.keys)} of {segment.batches} batches"
        if evidence is not None:
            return Finding(code=Code.PLAN_GAP, path=layout.segment(number), evidence=evidence)
        batch += segment.batches
        ordinal += segment.items
        duplicates = segment.duplicates
    return None


@dataclass(frozen=True)
class PlannedBatches:
    """The batches of segments without a gap (`find_plan_gap`), made when asked for."""

    segments: tuple[Segment, ...]

    @property
    def batches(self) -> int:
        return sum(segment.batches for segment in self.segments)

    @property
    def items(self) -> int:
        return sum(segment.items for segment in self.segments)

    def find(self, batch: int) -> PlannedBatch | None:
        """The batch of that number, or None if the plan has none."""
        for segment in self.segments:
            position = batch - segment.first_batch
            if 0 <= position < segment.batches:
                return _plan_batch(segment, position)
        return None

    def within(self, span: range) -> Iterator[PlannedBatch]:
        """The batches of these numbers, as far as the plan has them, by number."""
        for segment in self.segments:
            first = max(0, span.start - segment.first_batch)
            for position in range(first, min(segment.batches, span.stop - segment.first_batch)):
                yield _plan_batch(segment, position)

    def __iter__(self) -> Iterator[PlannedBatch]:
        """All batches, by number."""
        for segment in self.segments:
            for position in range(segment.batches):
                yield _plan_batch(segment, position)


def _plan_batch(segment: Segment, position: int) -> PlannedBatch:
    size = segment.batch_size
    start = segment.first_ordinal + position * size
    items = min(size, segment.items - position * size)
    keys = segment.keys[position] if segment.is_keyed else describe_ordinals(start, start + items)
    return PlannedBatch(
        segment.first_batch + position, segment.number, position, start, items, keys
    )


def find_mismatch(planned: PlannedBatch, claim: Claim) -> str | None:
    """In which way a published batch is not what the plan says, or None."""
    if (claim.batch, claim.items, claim.keys) != (planned.batch, planned.items, planned.keys):
        return _name_difference(planned, claim)
    return find_own_fault(claim)


def find_own_fault(claim: Claim) -> str | None:
    """In which way a published batch does not fit itself, or None."""
    try:
        tally = tally_outcomes(claim.outcomes)
    except ValueError as error:
        return str(error)
    committed = tally.committed
    if tally.items != claim.items:
        return f"its outcomes are {tally.items}, its items {claim.items}"
    if claim.rows < committed or (claim.rows and not committed):
        return f"it has {count_of(claim.rows, 'row')} of {count_of(committed, 'committed item')}"
    return None


def _name_difference(planned: PlannedBatch, claim: Claim) -> str:
    if claim.batch != planned.batch:
        return f"it is of batch {claim.batch}, not {planned.batch}"
    if claim.items != planned.items:
        return f"it accounts for {count_of(claim.items, 'item')}; the plan has {planned.items}"
    return "its keys are not those of the plan"


class OutcomeCounts(NamedTuple):
    """How many items of a batch there are of each outcome; `adopted` ones are `committed` too."""

    committed: int
    filtered: int
    quarantined: int
    removed: int
    adopted: int

    @property
    def items(self) -> int:
        return self.committed + self.filtered + self.quarantined + self.removed

    @property
    def later(self) -> int:
        """Those of outcomes that batten 0.1 doesn't know."""
        return self.removed + self.adopted


@lru_cache(maxsize=4096)
def tally_outcomes(text: str) -> OutcomeCounts:
    """Raises `ValueError` for a text that is none of outcomes."""
    counts = count_outcomes(text)
    return OutcomeCounts(
        committed=counts[Outcome.COMMITTED] + counts[Outcome.ADOPTED],
        filtered=counts[Outcome.FILTERED],
        quarantined=counts[Outcome.QUARANTINED],
        removed=counts[Outcome.REMOVED],
        adopted=counts[Outcome.ADOPTED],
    )


def sum_outcomes(texts: Iterable[str]) -> OutcomeCounts:
    """Of many batches. Raises `ValueError` for a text that is none of outcomes."""
    return add_counts(map(tally_outcomes, texts))


def add_counts(counts: Iterable[OutcomeCounts]) -> OutcomeCounts:
    committed = filtered = quarantined = removed = adopted = 0
    for each in counts:
        committed += each.committed
        filtered += each.filtered
        quarantined += each.quarantined
        removed += each.removed
        adopted += each.adopted
    return OutcomeCounts(committed, filtered, quarantined, removed, adopted)


def count_accounts(
    segments: Sequence[Segment], counts: OutcomeCounts, *, staged: int = 0
) -> Accounts:
    """The accounts as they stand. What is counted must have been held against the plan
    (`find_mismatch`)."""
    planned = sum(segment.items for segment in segments)
    duplicate = segments[-1].duplicates if segments else 0
    done = counts.committed + counts.filtered + counts.quarantined
    return Accounts(
        source=planned - counts.removed + duplicate,
        committed=counts.committed,
        filtered=counts.filtered,
        quarantined=counts.quarantined,
        duplicate=duplicate,
        staged=staged,
        pending=planned - done - counts.removed - staged,
        removed=counts.removed,
        adopted=counts.adopted,
    )


def close_accounts(
    layout: Layout, segments: Sequence[Segment], claims: Iterable[Claim]
) -> Accounts | list[Finding]:
    """The accounts when every batch is published as planned; else what is missing or differs."""
    gap = find_plan_gap(layout, segments)
    if gap is not None:
        return [gap]
    plan = PlannedBatches(tuple(segments))
    by_batch = {claim.batch: claim for claim in claims}
    findings = [
        finding
        for planned in plan
        if (finding := _find_difference(layout, planned, by_batch.get(planned.batch)))
    ]
    findings += [beyond_plan(layout, batch, plan) for batch in by_batch if batch >= plan.batches]
    if findings:
        return findings
    return count_accounts(segments, sum_outcomes(claim.outcomes for claim in by_batch.values()))


def _find_difference(layout: Layout, planned: PlannedBatch, claim: Claim | None) -> Finding | None:
    batch = planned.batch
    if claim is None:
        return Finding(
            code=Code.LOST_PART,
            path=layout.part(batch),
            evidence=f"{count_of(planned.items, 'item')} not published",
            batch=batch,
        )
    evidence = find_mismatch(planned, claim)
    if evidence is None:
        return None
    return Finding(
        code=Code.ACCOUNTS_DIFFER, path=layout.commit(batch), evidence=evidence, batch=batch
    )


def beyond_plan(layout: Layout, batch: int, plan: PlannedBatches) -> Finding:
    """The finding for a part that the plan knows nothing of."""
    return Finding(
        code=Code.BEYOND_PLAN,
        path=layout.part(batch),
        evidence=f"the plan has only {count_of(plan.batches, 'batch', 'batches')}, and there is no "
        f"{layout.segment(len(plan.segments))}",
        batch=batch,
    )


def find_disagreement(completion: Completion, accounts: Accounts, segments: int) -> str | None:
    """In which way `COMPLETE` is not what the accounts say, or None."""
    recorded = {
        name: (getattr(completion, name), getattr(accounts, name))
        for name in (
            *("source", "committed", "filtered", "quarantined", "duplicate", "removed", "adopted"),
        )
    }
    recorded["segments"] = (completion.segments, segments)
    differing = [
        f"{name} {said}, not {found}" for name, (said, found) in recorded.items() if said != found
    ]
    return f"it says {'; '.join(differing)}" if differing else None
