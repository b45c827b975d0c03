"""What a run would do and whether it could begin; writes nothing and takes no lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from batten.deliver.delivering import Deliverer
from batten.errors import BattenError
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Fingerprint
from batten.model.words import RunStatus
from batten.plan.extending import count_new_items
from batten.plan.plan import Plan
from batten.run.changed import name_fresh_way
from batten.run.checks import Check, check_disk, list_checks
from batten.run.context import Context
from batten.run.found_dataset import FoundDataset, look
from batten.run.report import Report
from batten.storage.local.locks import busy_error


def foresee(context: Context, fingerprint: Fingerprint, work: Fingerprint) -> Report:
    """The report of a dry run. Raises what `look` raises; and the first refusal of a check, which
    then carries the report."""
    checks = [_check_lock(context), *list_checks(context), *_check_destinations(context)]
    report = Report(status=RunStatus.PLANNED, path=context.path, accounts=None, run=context.run)
    if all(check.refusal is None for check in checks):
        dataset = look(context, fingerprint, work)
        planned = dataset.judgement.plan
        plan = Plan(context.storage, context.layout, list(planned.segments) if planned else [])
        is_anew = context.options.is_fresh and dataset.observation.config is not None
        new = _count_new(context, dataset, plan, is_anew=is_anew)
        accounts = replace(
            dataset.accounts,
            source=dataset.accounts.source + new,
            pending=dataset.accounts.pending + new,
        )
        checks.append(check_disk(context, dataset.observation, accounts, is_anew=is_anew))
        report = replace(report, accounts=accounts, rows=dataset.rows)
    report = replace(report, checks=tuple(checks))
    for check in checks:
        if check.refusal is not None and not context.options.skips_checks:
            check.refusal.report = report
            raise check.refusal
    return report


def _count_new(context: Context, dataset: FoundDataset, plan: Plan, *, is_anew: bool) -> int:
    """A dataset that is computed anew need not have the items that were planned."""
    source, limit = context.pipeline.source, context.options.limit
    ways_on = name_fresh_way(context, dataset.observation)
    if not is_anew:
        return count_new_items(source, plan, limit, ways_on=ways_on)
    empty = Plan(context.storage, context.layout, [])
    return max(0, count_new_items(source, empty, limit, ways_on=ways_on) - plan.items)


def _check_destinations(context: Context) -> Iterator[Check]:
    for sink in context.pipeline.sinks:
        target = sink.describe(Path(context.storage.place))
        try:
            with Deliverer(context, [sink]):
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
