"""The dataset as a run finds it: looked at, decided upon, brought in order, planned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from batten.errors import (
    BattenError,
    CorruptError,
    InconsistentError,
    RefusedError,
)
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import Judgement, judge
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Fingerprint
from batten.model.rules.accounting import Accounts
from batten.model.rules.findings import DOUBT, Finding
from batten.model.rules.resume import Decision, Found, ResumeMode, decide_resume
from batten.model.telling.commands import command
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import State
from batten.run.context import Context
from batten.run.found.changed_job import is_blank, is_same_job
from batten.run.found.changed_job_refusal import refuse_changed
from batten.run.found.place_of_ledger import describe_target

SHOWN_KEYS = 5


@value_class
class FoundDataset:
    """What was found and decided. `quarantined` maps published batches to how many of their
    items are."""

    observation: Observation
    judgement: Judgement
    fingerprint: Fingerprint
    work: Fingerprint

    @property
    def is_complete(self) -> bool:
        return self.observation.completion is not None

    @property
    def accounts(self) -> Accounts:
        return self.judgement.accounts

    @property
    def rows(self) -> int:
        return self.judgement.rows

    @property
    def quarantined_batches(self) -> list[int]:
        """Published batches that have quarantined items."""
        parts, failed = self.observation.parts, self.observation.claims.list_failed()
        return sorted(batch for batch in failed if batch in parts)

    @property
    def retried(self) -> list[int]:
        """Published batches of which an earlier try is not set aside yet."""
        observation = self.observation
        failed = set(self.quarantined_batches)
        earlier = observation.given_up | (observation.quarantine.keys() - failed)
        return sorted(earlier & observation.recorded & observation.parts.keys())


class FirstRowsError(Exception):
    """There are parts without rows and so without columns, and now there are rows. The driver
    raises it before anything that has columns is published."""


def look(context: Context, fingerprint: Fingerprint, work: Fingerprint) -> FoundDataset:
    """The dataset that was found, and what to do about it. Writes nothing; raises what forbids to
    go on."""
    observation, judgement = observe_free(context)
    refuse_damaged(context, observation, judgement)
    refuse_other_job(context, observation, fingerprint)
    found = _find(context, observation, fingerprint)
    decision = decide_resume(found, ResumeMode(context.options.resume))
    if decision is Decision.REFUSE_EXISTS:
        raise RefusedError(
            f"{context.path} exists, and resume is 'never'.",
            safe="Nothing was changed.",
            next="Write to another output, or allow to resume: "
            f"{context.wish('resume', 'if_possible')}",
        )
    if decision is Decision.REFUSE_CHANGED:
        refuse_changed(context, observation, judgement, fingerprint)
    return FoundDataset(
        observation=observation, judgement=judgement, fingerprint=fingerprint, work=work
    )


def refuse_other_job(context: Context, observation: Observation, fingerprint: Fingerprint) -> None:
    """Raise where other code fills another table from this ledger: that is another job."""
    config, target = observation.config, describe_target(context.pipeline)
    if config is None or not config.target or config.target == target:
        return
    if not is_same_job(context, config.fingerprint, fingerprint):
        raise RefusedError(
            f"{context.path}{CONTROL_SUFFIX} is of another job: it holds what goes to "
            f"{config.target}, and this one writes to {target or 'a folder of parts'}.",
            safe="Nothing was changed.",
            next='Give this job a place of its own: ledger="…" in its first sink.',
        )


def look_again(context: Context, dataset: FoundDataset) -> FoundDataset:
    """What is there after things were brought in order; what was decided stands."""
    observation, judgement = observe_free(context)
    refuse_damaged(context, observation, judgement)
    return replace(dataset, observation=observation, judgement=judgement)


def observe_free(context: Context, *, is_thorough: bool = False) -> tuple[Observation, Judgement]:
    """What is on disk, as seen by the one who holds the lock. Raises `StorageError` if something
    could not be read this time. Nobody knows what it holds, so it is not called damaged."""
    found = observe_output(context.storage, context.layout, is_thorough=is_thorough)
    observation = replace(found, holder=None)
    if observation.failure is not None:
        raise observation.failure
    return observation, judge(observation)


def _find(context: Context, observation: Observation, fingerprint: Fingerprint) -> Found:
    config = observation.config
    if config is None or not (observation.segments or observation.parts):
        return Found.NOTHING
    is_same = is_same_job(context, config.fingerprint, fingerprint)
    if not is_same and not is_blank(context, observation, fingerprint):
        return Found.CHANGED
    return Found.UNFINISHED if observation.completion is None else Found.FINISHED


def refuse_damaged(context: Context, observation: Observation, judgement: Judgement) -> None:
    """Raise what the findings forbid."""
    state = judgement.verdict.state
    if state is State.RECOVERY_PENDING and observation.is_unsynced:
        raise RefusedError(
            f"A sync of the folders of {context.path} failed in an earlier run.",
            safe="Nothing was changed; what is there is whole, and a run makes it durable first.",
            next=f"Have that done alone: {command('recover', context.path)}",
        )
    if state is State.RECOVERY_PENDING:
        raise RefusedError(
            f"A new dataset is about to take the place of {context.path}.",
            safe="Nothing was changed; readers see the old one or the new one, whole.",
            next=f"Let it be finished: {command('recover', context.path)}",
        )
    if state in (State.NEW, State.INTERRUPTED, State.COMPLETE, State.COMPLETE_WITH_ORPHANS):
        return
    worst = [finding for finding in judgement.findings if finding.severity in DOUBT]
    first = worst[0]
    more = f" (and {count_of(len(worst) - 1, 'more finding')})" if len(worst) > 1 else ""
    what = f"{first.path}: {first.evidence}{more}."
    advice = _advise(context, first, observation.deliveries)
    if state is State.UNKNOWN:
        raise RefusedError(what, safe="Nothing was changed.", next=advice)
    missing = find_missing_keys(context, judgement)
    if missing:
        shown = ", ".join(missing[:SHOWN_KEYS])
        rest = f" and {len(missing) - SHOWN_KEYS} more" if len(missing) > SHOWN_KEYS else ""
        what = f"{what[:-1]}. Missing: {shown}{rest}."
    kind: type[InconsistentError] = CorruptError if state is State.CORRUPT else InconsistentError
    raise kind(
        what,
        safe="Nothing was changed, and nothing was deleted.",
        next=advice,
        missing=tuple(missing),
    )


def _advise(context: Context, finding: Finding, deliveries: Iterable[Delivery]) -> str:
    text = finding.advise(context.path, deliveries)
    see = command("diagnose", context.path)
    return f"{text[0].upper()}{text[1:]}; to see more: {see}"


def find_missing_keys(context: Context, judgement: Judgement) -> list[str]:
    """The keys of the batches whose parts are gone, by the plan."""
    lost = judgement.lost
    if not lost or judgement.plan is None:
        return []
    from batten.plan.plan import Plan

    plan = Plan(context.storage, context.layout, list(judgement.plan.segments))
    keys: list[str] = []
    for batch in lost:
        try:
            keys += plan.key_texts(plan.batch(batch))
        except (BattenError, IndexError):
            continue
    return keys
