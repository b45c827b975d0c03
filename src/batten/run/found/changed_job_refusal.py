"""What a job is told that is not the one that made the dataset: the ways on, and their costs."""

from __future__ import annotations

from batten.ledger.facts.observation import Observation
from batten.ledger.judge import Judgement
from batten.model.disk.destinations.delivery import find_kept
from batten.model.disk.records import Fingerprint, Unreadable, name_dataset
from batten.model.disk.runs.refusals import Way, order_ways
from batten.model.rules.accounting import Accounts
from batten.model.rules.findings import ELSEWHERE
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.plan.differs_errors import ChangedJobError
from batten.run.context import Context
from batten.run.found.changed_job import is_other_code, tell_difference
from batten.run.identity import ONE_PER_DATASET
from batten.sources.base import is_read_by


def refuse_changed(
    context: Context, observation: Observation, judgement: Judgement, fingerprint: Fingerprint
) -> None:
    """Raise if another job made what is there. It is no reason to raise if the user accepted that,
    or mended the code and only wants failed items to be tried again."""
    fixed = _list_fixed(context, observation, fingerprint)
    is_mended = _is_mended(context, observation, judgement, fingerprint)
    adding = _find_adding(context, observation) if fixed == ["schema"] else None
    if adding is not None and not adding.obstacle:
        if context.options.adds_columns:
            return
        raise _lacking_columns(context, observation, judgement, fingerprint, adding.names)
    if adding is not None and context.options.adds_columns:
        raise _other_columns(context, observation, fingerprint, adding.obstacle)
    if fixed or not (context.options.accepts_change or is_mended):
        raise _changed(context, observation, judgement, fingerprint, fixed)


def _changed(
    context: Context,
    observation: Observation,
    judgement: Judgement,
    fingerprint: Fingerprint,
    fixed: list[str],
) -> ChangedJobError:
    """`fixed` names what differs and can't within one dataset: then accepting is no way on."""
    what = _tell_changed(context, observation, fingerprint)
    parts, accounts = len(observation.parts), judgement.accounts
    staged = accounts.staged
    keeps = bool(find_kept(observation.deliveries))
    anew = () if keeps else (Way.FRESH,)
    if fixed:
        return ChangedJobError(
            f"{what[:-1]}. The {' and the '.join(fixed)} can't change within one dataset.",
            safe="Nothing was changed.",
            next=f"Undo the change; or {name_fresh_way(context, observation)}.",
            ways=anew,
        )
    accept, fresh = context.wish("accept_change"), context.wish("fresh")
    if context.pipeline.whole is not None:
        way = f"make it anew, the old file staying until then ({fresh})"
        return ChangedJobError(
            what,
            safe="Nothing was changed; readers see what they saw before.",
            next=f"Undo the change; or {name_fresh_way(context, observation) if keeps else way}.",
            ways=anew,
        )
    if not parts:
        return ChangedJobError(
            what,
            safe=f"Nothing was changed. Nothing is published; {_count(staged, 'finished item')} "
            "staged, of use only to the code that made them.",
            next=f"Undo the change to use them; or compute {_all_items(observation)} with the "
            f"current code: {accept} drops them at once, {fresh} when the new dataset is complete.",
            ways=(*anew, Way.ACCEPT),
        )
    retry = _find_retry(observation, accounts, fingerprint)
    return ChangedJobError(
        what,
        safe=f"Nothing was changed; {_count(parts, 'published part')} as before. "
        "Going on would mix old rows with new ones.",
        next=_name_ways(context, observation, accounts, retry),
        ways=order_ways((*anew, Way.ACCEPT, *retry)),
    )


@value_class
class _Adding:
    """The columns that a job has and the dataset has not, by name. The `obstacle` is what else is
    different in its columns."""

    names: tuple[str, ...]
    obstacle: str = ""


def _find_adding(context: Context, observation: Observation) -> _Adding | None:
    """None if nothing is published that has columns, or they can't be read."""
    from batten.ledger.files.schema_file import load_schema
    from batten.rows.declared import find_declared, find_other

    try:
        there = load_schema(context.storage, context.layout.schema)
    except Unreadable:
        return None
    if not observation.parts:
        return None
    settings = context.pipeline.settings
    declared = find_declared(context.pipeline.steps, settings.schema, settings.key_column)
    new = tuple(name for name in declared.columns if name not in there.names)
    return _Adding(names=new, obstacle=find_other(declared, there))


def _lacking_columns(
    context: Context,
    observation: Observation,
    judgement: Judgement,
    fingerprint: Fingerprint,
    names: tuple[str, ...],
) -> ChangedJobError:
    """The columns alone keep the run from beginning, and they can be added."""
    anew = () if find_kept(observation.deliveries) else (Way.FRESH,)
    accounts = judgement.accounts
    rest = accounts.staged + accounts.pending
    others = f"computes the other {count_of(rest, 'item')}" if rest else "no item is computed again"
    listed = ", ".join(map(repr, names))
    nulls = f" with nulls in {listed}" if names else ""
    return ChangedJobError(
        f"{_tell_changed(context, observation, fingerprint)[:-1]}. "
        "The schema can't change by itself.",
        safe=f"Nothing was changed; {_count(len(observation.parts), 'published part')} as before.",
        next=f"Undo the change; or keep the rows there are{nulls}: {others} "
        f"({context.wish_to_add()}); or {name_fresh_way(context, observation)}.",
        ways=order_ways((*anew, Way.ADD_COLUMNS)),
    )


def _other_columns(
    context: Context, observation: Observation, fingerprint: Fingerprint, obstacle: str
) -> ChangedJobError:
    anew = () if find_kept(observation.deliveries) else (Way.FRESH,)
    return ChangedJobError(
        f"{_tell_changed(context, observation, fingerprint)[:-1]}. {obstacle} "
        "Columns can be added, and the others stay as they are.",
        safe="Nothing was changed.",
        next=f"Undo the change; or {name_fresh_way(context, observation)}.",
        ways=anew,
    )


def _tell_changed(context: Context, observation: Observation, fingerprint: Fingerprint) -> str:
    config = observation.config
    lines = tell_difference(context, config.fingerprint, fingerprint) if config is not None else []
    return f"{context.path} was made by other code or settings: {'; '.join(lines)}."


def _find_retry(
    observation: Observation, accounts: Accounts, fingerprint: Fingerprint
) -> tuple[Way, ...]:
    """The ways to try failed items again with mended code. Empty if more than code has changed."""
    if not accounts.quarantined or not is_other_code(observation, fingerprint):
        return ()
    return (Way.ACCEPT_AND_RETRY if observation.completion is None else Way.RETRY,)


def _name_ways(
    context: Context, observation: Observation, accounts: Accounts, retry: tuple[Way, ...]
) -> str:
    """The ways on where there are parts, and what each costs in items."""
    accept = context.wish("accept_change")
    rest = accounts.staged + accounts.pending
    cost = "compute what is new with the current code"
    if rest:
        cost = f"compute the other {count_of(rest, 'item')} with the current code"
    if accounts.staged:
        cost += f", {accounts.staged} of them again, which are finished and not published"
    failed = ""
    if retry:
        also = f"{accept} " if Way.ACCEPT_AND_RETRY in retry else ""
        again = f"{also}{context.wish('retry_quarantined')}"
        count = count_of(accounts.quarantined, "quarantined item")
        failed = f"try {count} again with the current code ({again}); or "
    return (
        f"Undo the change; or {failed}keep the rows there are and {cost} ({accept}); "
        f"or {name_fresh_way(context, observation)}."
    )


def _is_mended(
    context: Context, observation: Observation, judgement: Judgement, fingerprint: Fingerprint
) -> bool:
    """Whether only items that failed are left, they are to be tried again, and nothing but the code
    has changed: that is what a function is mended for, so it needs no other consent (decision
    0047)."""
    return (
        context.options.should_retry_quarantined
        and observation.completion is not None
        and judgement.accounts.quarantined > 0
        and context.pipeline.whole is None
        and is_other_code(observation, fingerprint)
    )


def _all_items(observation: Observation) -> str:
    """As far as they are known: a plan that is limited does not have all."""
    segments = observation.segments
    is_known = segments and not segments[-1].is_limited
    return f"all {count_of(sum(each.items for each in segments), 'item')}" if is_known else "all"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def name_fresh_way(context: Context, observation: Observation) -> str:
    """How to compute all anew: not every destination can let go of what it has."""
    fresh = context.wish("fresh")
    if kept := find_kept(observation.deliveries):
        return f"to compute all anew {ELSEWHERE}: {kept} keeps its rows, and refuses {fresh}"
    items = _all_items(observation)
    return f"compute {items} anew ({fresh}); the old one stays until the new one is complete"


def _list_fixed(context: Context, observation: Observation, fingerprint: Fingerprint) -> list[str]:
    """What differs, and is one for a dataset: rows of before and of now could not stand in it."""
    config = observation.config
    old = config.fingerprint.parts if config is not None else {}
    differing = [name for name in ONE_PER_DATASET if old.get(name) != fingerprint.parts.get(name)]
    segments = observation.segments
    if segments and segments[0].is_keyed != context.pipeline.source.is_keyed:
        differing.append("kind of keys")
    is_elsewhere = bool(segments) and old.get("source") != fingerprint.parts.get("source")
    output = f"{context.storage.place}/{context.layout.output}"
    if is_elsewhere and not is_read_by(context.pipeline.source, output, name_dataset(config)):
        # Offsets name items of one landing alone (decision 0144).
        differing.append("landing")
    return differing
