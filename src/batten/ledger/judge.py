"""What an observation means: findings, orphans, accounts and state. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from batten.ledger.delivered import find_undelivered
from batten.ledger.facts.batches.held_claims import Claims, list_unsummed
from batten.ledger.facts.observation import Observation
from batten.model.disk.published import Published
from batten.model.disk.records import Completion
from batten.model.disk.staged_names import StagedChunk, StagedFile, find_staged
from batten.model.rules.accounting import (
    Accounts,
    PlannedBatches,
    add_counts,
    beyond_plan,
    count_accounts,
    find_disagreement,
    find_mismatch,
    find_plan_gap,
    sum_outcomes,
    tally_outcomes,
)
from batten.model.rules.coverage import count_items
from batten.model.rules.findings import MADE_AGAIN, Code, Finding, Severity, find_worst
from batten.model.rules.states import Damage, Facts, Ground, Verdict, decide_state
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.storage.base import Entry


@value_class
class Judgement:
    """`lost` are the batches whose part is gone. `plan` is None if it can't be trusted."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    orphans: tuple[Entry, ...]
    accounts: Accounts
    rows: int
    plan: PlannedBatches | None

    @property
    def lost(self) -> tuple[int, ...]:
        return tuple(
            finding.batch
            for finding in self.findings
            if finding.code in (Code.LOST_PART, Code.HOLE) and finding.batch is not None
        )


_DAMAGE = {
    Severity.NOTE: Damage.NONE,
    Severity.WARNING: Damage.NONE,
    Severity.INCONSISTENT: Damage.INCONSISTENT,
    Severity.CORRUPT: Damage.CORRUPT,
}


_UNFINISHED = MADE_AGAIN | {Code.UNDELIVERED}
"""Findings of destinations that the next run mends: so it is not done, whatever `COMPLETE` says."""


def judge(observation: Observation) -> Judgement:
    """The meaning of what was found."""
    findings = list(observation.findings)
    plan = _trust_plan(observation, findings)
    good: dict[int, Published] = {}
    if plan is not None and not observation.is_vouched:
        good = _hold_against_plan(observation, plan, findings)
    staged, leftovers = _sort_staged(observation, plan, findings)
    accounts, rows = _count(observation, plan, good, staged, findings)
    findings.extend(find_undelivered(observation, plan.batches if plan else 0))
    is_live = observation.holder is not None
    orphans = () if is_live else (*observation.staging, *leftovers)
    verdict = _decide(observation, findings, has_orphans=bool(orphans))
    return Judgement(
        verdict=verdict,
        findings=tuple(findings),
        orphans=orphans,
        accounts=accounts,
        rows=rows,
        plan=plan,
    )


def _decide(observation: Observation, findings: list[Finding], *, has_orphans: bool) -> Verdict:
    is_ours = observation.ground is Ground.OURS
    codes = {finding.code for finding in findings}
    return decide_state(
        Facts(
            ground=observation.ground,
            is_locked=observation.holder is not None,
            damage=_DAMAGE[find_worst(findings)] if is_ours else Damage.NONE,
            has_journal=observation.has_journal,
            is_complete=observation.completion is not None and not _UNFINISHED & codes,
            has_orphans=has_orphans,
        )
    )


def _trust_plan(observation: Observation, findings: list[Finding]) -> PlannedBatches | None:
    if not observation.has_whole_plan:
        return None
    gap = find_plan_gap(observation.layout, observation.segments)
    if gap is not None:
        findings.append(gap)
        return None
    return PlannedBatches(observation.segments)


def _hold_against_plan(
    observation: Observation, plan: PlannedBatches, findings: list[Finding]
) -> dict[int, Published]:
    """The published batches that are as planned; of the others, a finding each."""
    good = {}
    batches = plan.batches
    _forget_what_is_beyond(observation, batches, findings)
    # Nothing is to be told of those that are summed: else they would not be.
    for batch in list_unsummed(observation.parts, observation.claims.sums):
        claim = observation.claims.get(batch)
        if batch >= batches:
            findings.append(beyond_plan(observation.layout, batch, plan))
        elif claim is not None:
            finding = _find_fault(observation, plan, batch, claim)
            if finding is None:
                good[batch] = claim
            else:
                findings.append(finding)
            if batch not in observation.recorded:
                findings.append(_missing_record(observation, batch))
    findings.extend(_find_lost(observation, batches))
    findings.extend(_tell_early(observation))
    return good


def _forget_what_is_beyond(observation: Observation, batches: int, findings: list[Finding]) -> None:
    """Whether a part that the plan knows nothing of can be read doesn't matter: it can't be
    computed again."""
    beyond = {batch for batch in observation.parts if batch >= batches}
    findings[:] = [
        finding
        for finding in findings
        if not (finding.code is Code.UNREADABLE_PART and finding.batch in beyond)
    ]


def _find_fault(
    observation: Observation, plan: PlannedBatches, batch: int, claim: Published
) -> Finding | None:
    layout, size = observation.layout, observation.parts[batch]
    planned = plan.find(batch)
    mismatch = find_mismatch(planned, claim) if planned else None
    if mismatch is not None:
        is_recorded = batch in observation.recorded
        path = layout.commit(batch) if is_recorded else layout.part(batch)
        return Finding(code=Code.ACCOUNTS_DIFFER, path=path, evidence=mismatch, batch=batch)
    if claim.size is not None and claim.size != size:
        evidence = f"it has {count_of(size, 'byte')}; its commit record says {claim.size:,}"
        return Finding(
            code=Code.SIZE_DIFFERS, path=layout.part(batch), evidence=evidence, batch=batch
        )
    quarantined = tally_outcomes(claim.outcomes).quarantined
    if quarantined and batch not in observation.quarantine:
        evidence = f"it is gone; {count_of(quarantined, 'quarantined item')} lay in it"
        return Finding(
            code=Code.LOST_QUARANTINE,
            path=layout.quarantined(batch),
            evidence=evidence,
            batch=batch,
        )
    return None


def _missing_record(observation: Observation, batch: int) -> Finding:
    if batch in observation.reopened:
        return Finding(
            code=Code.REOPENED,
            path=observation.layout.recomputed(batch),
            evidence="some of its items are being computed again; the part stays meanwhile",
            batch=batch,
        )
    return Finding(
        code=Code.MISSING_RECORD,
        path=observation.layout.commit(batch),
        evidence="the part is there and says itself what it holds",
        batch=batch,
    )


def _find_lost(observation: Observation, batches: int) -> Iterator[Finding]:
    """A record proves that its part was published. Without one, a part is missed only where a later
    one is there, since parts are published in order."""
    layout, parts = observation.layout, observation.parts
    for batch in sorted(observation.recorded.single.difference(parts)):
        claim = observation.claims.get(batch)
        held = (
            f"; it held {count_of(claim.rows, 'row')} of {count_of(claim.items, 'item')}"
            if claim
            else ""
        )
        yield Finding(
            code=Code.LOST_PART,
            path=layout.part(batch),
            evidence=f"it is gone, and {layout.commit(batch)} says that it was published{held}",
            batch=batch,
        )
    for batch in _list_missing(parts, batches):
        if batch not in observation.recorded and batch not in observation.given_up:
            yield Finding(
                code=Code.HOLE,
                path=layout.part(batch),
                evidence="it is not there, and a later part is",
                batch=batch,
            )
    for batch in sorted(observation.given_up.difference(parts, observation.recorded)):
        yield Finding(
            code=Code.GIVEN_UP,
            path=layout.recomputed(batch),
            evidence="the part was lost, and given up to be computed again",
            batch=batch,
        )


def _list_missing(parts: Collection[int], batches: int) -> Iterator[int]:
    """Batches of the plan without a part, where a later one has one."""
    count, last = 0, -1
    for batch in parts:
        if batch < batches:
            count, last = count + 1, max(last, batch)
    return (each for each in range(last) if each not in parts) if count <= last else iter(())


def _tell_early(observation: Observation) -> Iterator[Finding]:
    for batch in sorted(observation.early):
        yield Finding(
            code=Code.EARLY_PART,
            path=observation.layout.part(batch),
            evidence="it appeared, and one before it did not: both were being published",
            batch=batch,
        )


def _sort_staged(
    observation: Observation, plan: PlannedBatches | None, findings: list[Finding]
) -> tuple[int, list[Entry]]:
    """How many items of unpublished batches are staged, and the files that nothing will adopt."""
    start = len(observation.layout.staged) + 1
    waiting: dict[int, list[StagedChunk | StagedFile]] = {}
    leftovers = []
    for entry in observation.staged:
        staged = find_staged(entry.name[start:])
        if staged is None or plan is None:
            continue
        if staged.batch in observation.parts:
            if staged.batch not in observation.reopened:
                leftovers.append(entry)
        elif staged.batch >= plan.batches:
            evidence = f"of batch {staged.batch}; the plan has {plan.batches}"
            findings.append(Finding(code=Code.FOREIGN_FILE, path=entry.name, evidence=evidence))
        else:
            waiting.setdefault(staged.batch, []).append(staged)
    return (_count_staged(plan, waiting) if plan else 0), leftovers


def _count_staged(
    plan: PlannedBatches, waiting: Mapping[int, list[StagedChunk | StagedFile]]
) -> int:
    count = 0
    for batch, files in waiting.items():
        planned = plan.find(batch)
        items = planned.items if planned else 0
        if any(isinstance(file, StagedFile) and file.kind == "sealed" for file in files):
            count += items
            continue
        count += count_items([file for file in files if isinstance(file, StagedChunk)], items)
    return count


def _count(
    observation: Observation,
    plan: PlannedBatches | None,
    good: Mapping[int, Published],
    staged: int,
    findings: list[Finding],
) -> tuple[Accounts, int]:
    segments = observation.segments if plan is not None else ()
    completion = observation.completion
    summed = observation.claims if plan is not None and not observation.is_vouched else Claims()
    single = sum_outcomes(claim.outcomes for claim in good.values())
    counts = add_counts([summed.count_summed(), single])
    counted = count_accounts(segments, counts, staged=staged)
    rows = summed.rows + sum(claim.rows for claim in good.values())
    if completion is None or plan is None:
        return counted, rows
    recorded = _by_completion(completion, plan)
    disagreement = find_disagreement(
        completion, recorded if observation.is_vouched else counted, len(segments)
    )
    if disagreement is None and len(completion.part_sizes) != plan.batches:
        disagreement = f"it lists {len(completion.part_sizes)} parts of {plan.batches}"
    if disagreement is None and not observation.is_vouched:
        disagreement = _compare_sizes(observation, completion, rows)
    is_damaged = _DAMAGE.get(find_worst(findings)) is not Damage.NONE
    if disagreement is not None and not is_damaged:
        path = observation.layout.complete
        findings.append(Finding(code=Code.COMPLETE_DISAGREES, path=path, evidence=disagreement))
    if observation.is_vouched and disagreement is None:
        return recorded, completion.rows
    return counted, rows


def _by_completion(completion: Completion, plan: PlannedBatches) -> Accounts:
    """The accounts that `COMPLETE` records, as far as the plan bears them out."""
    committed, filtered = completion.committed, completion.filtered
    duplicate = plan.segments[-1].duplicates if plan.segments else 0
    return Accounts(
        source=plan.items - completion.removed + duplicate,
        committed=committed,
        filtered=filtered,
        quarantined=plan.items - committed - filtered - completion.removed,
        duplicate=duplicate,
        staged=0,
        pending=0,
        removed=completion.removed,
        adopted=completion.adopted,
    )


def _compare_sizes(observation: Observation, completion: Completion, rows: int) -> str | None:
    if completion.rows != rows:
        return f"it says {completion.rows} rows, not {rows}"
    for batch, size in enumerate(completion.part_sizes):
        if observation.parts.get(batch) != size:
            found = observation.parts.get(batch)
            said = count_of(size, "byte")
            return f"it says {said} for {observation.layout.part(batch)}, not {found}"
    return None
