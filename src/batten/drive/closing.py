"""The end of a run: what is on disk is held against the plan by key, and accounts are closed."""

from __future__ import annotations

from contextlib import suppress

from batten.deliver.delivering import Deliverer
from batten.drive.handing_out.flight import forget
from batten.errors import BattenError, InconsistentError
from batten.ledger.commit_records import rebuild_records
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.generations import find_current
from batten.ledger.guarded import carry_out, taken_over
from batten.ledger.history.usage import compute_usage, find_usage, record_lost_calls
from batten.ledger.history.usage_journal import UsageJournal, list_journals
from batten.ledger.judge import Judgement, judge
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Completion, encode_record, version_for
from batten.model.disk.runs.usage_lines import BeforeLine, total
from batten.model.rules.accounting import Accounts, close_accounts
from batten.model.rules.exit_codes import find_ending
from batten.model.rules.guards import COMPLETING
from batten.model.rules.usage import Usage, record_usage
from batten.model.telling.commands import command
from batten.model.telling.counts import count_of
from batten.model.words import RunStatus
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset, observe_free, refuse_damaged
from batten.run.report import Report
from batten.storage.changing.orphans import delete_orphans
from batten.storage.changing.publishing import create


def close(context: Context, plan: Plan, deliverer: Deliverer) -> tuple[RunStatus, Accounts, int]:
    """Read from disk what is there, and compare it with the plan by key. Give every destination
    what it lacks, and record that the dataset is complete."""
    observation, judgement = _look_closely(context)
    if context.layout.is_shared:
        _refuse_overtaken(context, plan, observation)
    accounts = judgement.accounts
    rows = judgement.rows
    if plan.is_limited or (context.options.limit is not None and accounts.pending):
        return RunStatus.LIMITED, accounts, rows
    closed = close_accounts(
        context.layout, plan.segments, [observation.claims[b] for b in observation.parts]
    )
    if not isinstance(closed, Accounts):
        missing = [
            key
            for finding in closed
            if finding.batch is not None and finding.batch < plan.batches
            for key in plan.key_texts(plan.batch(finding.batch))
        ]
        raise InconsistentError(
            f"The accounts do not close: {closed[0].path}: {closed[0].evidence}; "
            f"not accounted for: {count_of(len(missing), 'item')}, {', '.join(missing[:5])}.",
            safe="Nothing was deleted, and the dataset is not marked complete.",
            next=f"See what is there: {command('diagnose', context.path)}",
            missing=tuple(missing),
        )
    deliverer.finish(plan.batches)
    # Dead workers left this half done. All is published, so nobody will adopt it.
    delete_orphans(context.storage, [entry.name for entry in judgement.orphans])
    record_lost_calls(context.storage, context.layout, context.run)
    _settle_with_vendors(context)
    usage = _sum_usage(context, observation)
    completion = Completion(
        source=closed.source,
        committed=closed.committed,
        filtered=closed.filtered,
        quarantined=closed.quarantined,
        duplicate=closed.duplicate,
        rows=rows,
        segments=len(plan.segments),
        part_sizes=[observation.parts[batch] for batch in range(plan.batches)],
        run=context.run,
        time=utc_now(),
        destinations=deliverer.list_kinds(),
        removed=closed.removed,
        adopted=closed.adopted,
        usage=record_usage(usage),
        format_version=version_for(closed.removed + closed.adopted),
    )
    storage, layout, data = context.storage, context.layout, encode_record(completion)
    if storage.folder is None:
        versions = [observation.versions[batch] for batch in range(plan.batches)]
        name = layout.complete_of(len(plan.segments), versions, plan.revised)
        for step in COMPLETING:
            carry_out(storage, step, name, data)
    else:
        create(storage, layout.staging, layout.complete, data)
    forget(context.storage, layout, context.run)
    return RunStatus.COMPLETE, closed, rows


def _look_closely(context: Context) -> tuple[Observation, Judgement]:
    """What is on disk, of which nothing forbids to go on."""
    is_shared = context.layout.is_shared
    observation, judgement = observe_free(context, is_thorough=is_shared)
    refuse_damaged(context, observation, judgement)
    if observation.lost_records:
        # The look at the beginning found them in roll-ups, and so had nothing to mend.
        lost = sorted(observation.lost_records)
        rebuild_records(context.storage, context.layout, lost, run=context.run, time=utc_now())
        observation, judgement = observe_free(context, is_thorough=is_shared)
        refuse_damaged(context, observation, judgement)
    return observation, judgement


def _settle_with_vendors(context: Context) -> None:
    if any(step.batch_api is not None for step in context.pipeline.steps):
        from batten.work.submitting.settling import settle_submissions

        settle_submissions(context, context.layout)


def _sum_usage(context: Context, observation: Observation) -> Usage | None:
    """What all calls used. A dataset that is to take the place of another one keeps what that one
    had used, which goes with it."""
    storage, layout = context.storage, context.layout
    if (outer := layout.outer) is not None:
        before = compute_usage(storage, observe_output(storage, outer, is_mine=True))
        if before is not None:
            used = total((before.total, before.before))
            UsageJournal(storage, layout, context.run).write(BeforeLine(used=used))
    return compute_usage(storage, observation)


def _tell_usage(context: Context) -> Usage | None:
    """For the end of the run, whichever it is."""
    storage, layout = context.storage, context.layout
    with suppress(BattenError):
        if list_journals(storage, layout):
            return find_usage(storage, observe_output(storage, layout))
    return None


def _refuse_overtaken(context: Context, plan: Plan, observation: Observation) -> None:
    """Raises `BusyError` where another run has planned or published meanwhile: what this one would
    complete is not all that there is."""
    layout, storage = context.layout, context.storage
    if len(observation.segments) != len(plan.segments):
        raise taken_over(storage, layout.segment(len(plan.segments)))
    if observation.revised != plan.revised:
        others = observation.revised.items() ^ plan.revised.items()
        raise taken_over(storage, min(name for name, _ in others))
    for batch in observation.parts:
        if batch not in observation.recorded:
            raise taken_over(storage, layout.part(batch))


def withdraw_completion(context: Context, dataset: FoundDataset) -> None:
    """The dataset is about to grow or change. So first the record that it is complete goes."""
    folder = context.storage.folder
    # Elsewhere it bears in its name what it completes, and means nothing of anything else.
    if dataset.is_complete and folder is not None:
        folder.delete(context.layout.complete)
        folder.sync_names(context.layout.control)


def report_failure(context: Context, error: BaseException) -> Report:
    """The report of a run that an error has ended: what there is now, as `diagnose` counts it."""
    accounts, rows = None, 0
    with suppress(Exception):  # The error is what is to be told.
        layout = find_current(context.storage, context.layout)
        observation = observe_output(context.storage, layout)
        if observation.config is not None:
            judgement = judge(observation)
            accounts, rows = judgement.accounts, judgement.rows
    return make_report(context, find_ending(error).status, accounts, rows)


def make_report(
    context: Context,
    status: RunStatus,
    accounts: Accounts | None,
    rows: int,
    look: SourceLook | None = None,
) -> Report:
    return Report(
        status=status,
        path=context.path,
        accounts=accounts,
        rows=rows,
        executed_items=context.executed_items,
        adopted_items=context.adopted_items,
        vanished_items=look.gone if look is not None else 0,
        changed_items=look.differences.changed if look is not None else 0,
        removed_items=look.removed if look is not None else 0,
        seconds=dict(context.seconds),
        run=context.run,
        usage=_tell_usage(context),
        beside=_show_beside(context) if status is RunStatus.LIMITED else "",
    )


def _show_beside(context: Context) -> str:
    if not context.is_beside:
        return ""
    if context.storage.folder is None:
        return f"{context.storage.place}/{context.layout.output}"
    return f"{context.path}{CONTROL_SUFFIX}/fresh"
