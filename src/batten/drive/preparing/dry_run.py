"""What a run would do and whether it could begin; writes nothing and takes no lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from batten.deliver.delivering import Deliverer
from batten.errors import BattenError
from batten.model.disk.destinations.targets import PACKAGED
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Fingerprint
from batten.model.rules.accounting import Accounts
from batten.model.words import RunStatus
from batten.plan.extending import foresee_plan
from batten.plan.plan import Plan
from batten.run.checks import Check, list_checks
from batten.run.context import Context
from batten.run.disk_room import check_disk
from batten.run.found.changed_job_refusal import name_fresh_way
from batten.run.found.found_dataset import look, observe_free, refuse_other_job
from batten.run.report import Report
from batten.sinks.capabilities import capabilities_of
from batten.sinks.located import show_here
from batten.storage.local.locking.locks import busy_error

_NOTHING = Accounts(
    source=0, committed=0, filtered=0, quarantined=0, duplicate=0, staged=0, pending=0
)


def foresee(context: Context, fingerprint: Fingerprint, work: Fingerprint) -> Report:
    """The report of a dry run. Raises what `look` raises; and the first refusal of a check, which
    then carries the report."""
    checks = [_check_lock(context), *list_checks(context), *_check_destinations(context)]
    report = Report(status=RunStatus.PLANNED, path=context.path, accounts=None, run=context.run)
    if all(check.refusal is None for check in checks):
        observation, judgement = observe_free(context)
        is_anew = context.options.is_fresh and observation.config is not None
        if is_anew:
            refuse_other_job(context, observation, fingerprint)
        else:
            judgement = look(context, fingerprint, work).judgement
        # A dataset that is computed anew need not have the items that were planned.
        segments = list(judgement.plan.segments) if judgement.plan else []
        new, seen = foresee_plan(
            context.pipeline.source,
            Plan(context.storage, context.layout, [] if is_anew else segments),
            context.options.limit,
            ways_on=name_fresh_way(context, observation),
        )
        accounts = _add(_NOTHING if is_anew else judgement.accounts, new)
        # What is there tells how much room so many items take.
        planned = sum(segment.items for segment in segments)
        more = max(0, new - planned) if is_anew else new
        room = _add(judgement.accounts, more)
        checks.append(check_disk(context, observation, room, is_anew=is_anew))
        report = replace(
            report,
            accounts=accounts,
            rows=0 if is_anew else judgement.rows,
            vanished_items=seen.gone,
            changed_items=seen.differences.changed,
            removed_items=seen.removed,
        )
    report = replace(report, checks=tuple(checks))
    for check in checks:
        if check.refusal is not None and not context.options.skips_checks:
            check.refusal.report = report
            raise check.refusal
    return report


def _add(known: Accounts, new: int) -> Accounts:
    return replace(known, source=known.source + new, pending=known.pending + new)


def _check_destinations(context: Context) -> Iterator[Check]:
    for sink in context.pipeline.sinks:
        place = context.storage.place
        kind = PACKAGED if capabilities_of(sink).package else sink.kind
        target = show_here(kind, sink.describe(Path(place)), place)
        try:
            with Deliverer(context, [sink]) as deliverer:
                deliverer.refuse_other_form()
                yield Check(name="destination", told=f"{target} ({sink.kind}) can be reached")
        except BattenError as error:
            yield Check(name="destination", told=f"{target}: {error.what}", refusal=error)


def _check_lock(context: Context) -> Check:
    holder = context.storage.observe_lock(context.layout.lock)
    if holder is None:
        return Check(name="lock", told="no other run is at work")
    return Check(
        name="lock",
        told=f"process {holder.pid} on {holder.host} is at work",
        refusal=busy_error(context.path + CONTROL_SUFFIX, holder),
    )
