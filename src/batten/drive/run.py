"""One run of a pipeline: look, decide, plan, prepare, publish, account."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batten.deliver.delivering import Deliverer, refuse_strangers
from batten.drive.closing import close, make_report, report_failure, withdraw_completion
from batten.drive.preparing.beginning import machine_used, make_context
from batten.drive.preparing.in_order import bring_in_order, record_call
from batten.drive.preparing.job_checks import check_job
from batten.drive.preparing.outdated import PublishedVersions, tell_versions
from batten.drive.preparing.planning import items_of, plan_more, plan_of
from batten.drive.to_do import NOTHING, ToDo
from batten.drive.together.run_end import describe_end, end_told
from batten.errors import BattenError
from batten.executors.printing.output import output_may_be_lost
from batten.garbage import collector_paused
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.ledger.facts.observe import observe_output
from batten.ledger.generations import enter, find_current
from batten.ledger.history.runs import find_refusal
from batten.ledger.judge import judge
from batten.ledger.replacement import roll_forward
from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.records import Fingerprint
from batten.model.rules.findings import DOUBT, find_worst
from batten.model.telling.counts import count_of
from batten.model.words import RunStatus
from batten.plan.differs_errors import SourceDiffersError
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.run.checks import list_checks, refuse_unfit
from batten.run.context import Context
from batten.run.disk_room import RoomWatch, check_disk
from batten.run.found.changed_job import is_same_job
from batten.run.found.found_dataset import (
    FirstRowsError,
    FoundDataset,
    look,
    look_again,
    observe_free,
    refuse_damaged,
)
from batten.run.found.place_of_ledger import choose_ledger
from batten.run.identity import identify_pipeline
from batten.run.progress import Progress, Silent
from batten.run.report import Report
from batten.run.run_options import RunOptions
from batten.run.telling.events import tell_events
from batten.run.telling.recording import RunRecord, recorded, refusals_logged
from batten.run.telling.watching import RunWatcher
from batten.sinks.base import RejectedBatchesError
from batten.sources.base import without_changes
from batten.storage.base import Store
from batten.storage.changing.publishing import make_folders
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.output_lock import take_lock

if TYPE_CHECKING:
    from batten.drive.driver import Driver
    from batten.drive.successors.successor import Successor
    from batten.sources.finished import FinishedRows


def run_pipeline(
    pipeline: Definition,
    options: RunOptions,
    progress: Progress | None,
    finished: FinishedRows | None = None,
    watchers: Sequence[RunWatcher] = (),
) -> Report:
    """Run on local files; see `Pipeline.run`. With `finished` rows, adopt these."""
    pipeline = choose_ledger(pipeline)
    output = check_job(pipeline, options)
    local = LocalStorage(output.parent)
    may = options.gone_seconds is not None
    storage = pipeline.store.open(is_shared=may) if pipeline.store is not None else local
    return run_on(storage, pipeline, options, progress, finished, watchers)


def run_on(
    storage: Store,
    pipeline: Definition,
    options: RunOptions,
    progress: Progress | None = None,
    finished: FinishedRows | None = None,
    watchers: Sequence[RunWatcher] = (),
) -> Report:
    """Run on any storage. Returns when the accounts closed, or as `Pipeline.run` says; a
    `BattenError` that is raised carries the report of what was reached as `report`."""
    if options.is_dry_run:
        pipeline = replace(pipeline, source=without_changes(pipeline.source))
    context = make_context(
        storage, pipeline, options, progress or Silent(), finished=finished, watchers=watchers
    )
    has_begun_before = storage.find(context.layout.control) is not None
    conclude = partial(_conclude, context, has_begun_before=has_begun_before)
    with output_may_be_lost():
        return tell_events(context, _run, conclude)


def _conclude(context: Context, error: BaseException, *, has_begun_before: bool) -> Report | None:
    """What is told of a run that an error has ended are the accounts as they are then."""
    if not isinstance(error, Exception):
        return None
    reached = getattr(error, "report", None) or report_failure(context, error)
    if isinstance(error, BattenError):
        if not has_begun_before:
            _tell_folder(context, error)
        error.report = reached
    return reached


def _tell_folder(context: Context, error: BattenError) -> None:
    """The code that said "nothing was changed" did not know that this run is the first."""
    with suppress(BattenError):
        control = context.layout.control
        if error.safe.startswith("Nothing") and context.storage.find(control) is not None:
            place = context.storage.place
            is_path = context.storage.folder is not None
            made = show_path(Path(place) / control) if is_path else f"{place}/{control}"
            error.safe += f" There is {made} now, where the next run goes on."


@machine_used()
def _run(context: Context) -> Report:
    identity = context.identity = identify_pipeline(context.pipeline, context.options.parameters)
    identity.check_secrets()
    fingerprint, work = identity.fingerprint, identity.work
    if context.pipeline.finalizers:
        from batten.finalize.finalize import check_finalizers

        check_finalizers(context.pipeline.finalizers)
    if context.options.is_dry_run:
        context.layout = find_current(context.storage, context.layout)
        from batten.drive.preparing.dry_run import foresee

        return _finalize(context, foresee(context, fingerprint, work))
    with ExitStack() as stack:
        stack.enter_context(context.signals)
        is_new = context.storage.find(context.layout.control) is None
        ours = (context.layout.control, context.layout.data)
        made = [name for name in ours if is_new and context.storage.find(name) is None]
        if is_new:
            look(context, fingerprint, work)
            refuse_strangers(context)
            refuse_unfit(context, list_checks(context))
            make_folders(context.storage, [context.layout.control])
        stack.enter_context(take_lock(context.storage, context.layout, context.path))
        stack.callback(context.progress.close)
        stack.enter_context(end_told(context))
        context.watchers.tell(lambda watcher: watcher.hold())
        context.layout = enter(
            context.storage,
            context.layout,
            is_fresh=context.options.is_fresh,
            tell=context.progress.note,
        )
        stack.enter_context(refusals_logged(context, made))
        if not is_new:
            refuse_unfit(context, list_checks(context))
        if context.storage.folder is not None:
            roll_forward(context.storage.folder, context.layout)
        deliverer = stack.enter_context(Deliverer(context, context.pipeline.sinks))
        if context.options.is_fresh or _is_of_no_use(context, fingerprint):
            report = _run_fresh(context, deliverer, fingerprint, work)
        elif context.options.adds_columns:
            report = _run_adding(context, deliverer, fingerprint, work)
        else:
            report = _work_or_fresh(context, deliverer, fingerprint, work)
        done = _finalize(context, replace(report, destinations=deliverer.report()))
        context.tell_end(describe_end(done))
        return done


def _is_of_no_use(context: Context, fingerprint: Fingerprint) -> bool:
    """Whether what an earlier run began is nothing but what it knew of its tables, and they or the
    function are others now. Then nothing is lost by beginning anew."""
    if context.pipeline.whole is None or context.options.resume == "never":
        return False
    observation, judgement = observe_free(context)
    config = observation.config
    is_open = config is not None and observation.completion is None
    is_other = config is not None and not is_same_job(context, config.fingerprint, fingerprint)
    return is_open and is_other and find_worst(judgement.findings) not in DOUBT


def _work_or_fresh(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Report:
    try:
        return _work(context, deliverer, look(context, fingerprint, work))
    except FirstRowsError:
        context.progress.note("No item gave a row before, so all of them are done again.")
        return _run_fresh(context, deliverer, fingerprint, work)


def _finalize(context: Context, report: Report) -> Report:
    if not context.pipeline.finalizers:
        return report
    from batten.finalize.finalize import finalize_all

    if context.options.is_dry_run:
        return finalize_all(context, report)
    # What was done before is logged, and its log is closed.
    with recorded(context, tells_failure=True) as record:
        done = finalize_all(context, report)
        if done.status != report.status:
            record.begin()
            record.status = done.status
    return done


def _run_fresh(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Report:
    """Compute all anew. An old dataset stays as it is until the new one is complete."""
    from batten.drive.successors.successor import begin_again, begin_anew

    successor = begin_anew(context, deliverer, fingerprint, work)
    if successor is None:
        return _work(context, deliverer, look(context, fingerprint, work))
    try:
        report = _work_beside(successor)
    except SourceDiffersError:
        successor = begin_again(context, successor)
        report = _work_beside(successor)
    return _succeed(context, deliverer, successor, report)


def _run_adding(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Report:
    """Add columns to the rows there are. The old dataset stays until the new one is complete."""
    from batten.drive.successors.widening import begin_widened, find_earlier

    dataset = look(context, fingerprint, work)
    earlier = find_earlier(context, dataset)
    if earlier is None:
        return _work_or_fresh(context, deliverer, fingerprint, work)
    successor = begin_widened(context, deliverer, dataset, earlier)
    return _succeed(context, deliverer, successor, _work_beside(successor))


def _work_beside(successor: Successor) -> Report:
    return _work(successor.context, successor.deliverer, successor.dataset)


def _succeed(
    context: Context, deliverer: Deliverer, successor: Successor, report: Report
) -> Report:
    """If it is complete, it takes the place of the old dataset, and destinations get its rows."""
    if report.status not in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO):
        return report
    from batten.drive.successors.successor import take_place

    take_place(context, deliverer, successor)
    report = replace(report, status=RunStatus.COMPLETE)
    if context.pipeline.sinks:
        context.executed_items = successor.context.executed_items
        context.adopted_items = successor.context.adopted_items
        report = _deliver_anew(context, deliverer, look_again(context, successor.dataset), report)
    return report


def _deliver_anew(
    context: Context, deliverer: Deliverer, dataset: FoundDataset, report: Report
) -> Report:
    """A dataset has taken the place of another one: it is complete when its destinations are."""
    withdraw_completion(context, dataset)
    plan = plan_of(context, dataset)
    deliverer.look(range(plan.batches), items_of(context, plan))
    with recorded(context) as record:
        done = replace(
            _go_on(context, deliverer, dataset, plan, record),
            vanished_items=report.vanished_items,
            changed_items=report.changed_items,
            removed_items=report.removed_items,
        )
        record.status = done.status
        return done


def _work(context: Context, deliverer: Deliverer, dataset: FoundDataset) -> Report:
    with recorded(context) as record:
        report = _do_what_is_left(context, deliverer, dataset, record)
        record.status = report.status
        return report


def _do_what_is_left(
    context: Context, deliverer: Deliverer, dataset: FoundDataset, record: RunRecord
) -> Report:
    storage, layout = context.storage, context.layout
    config = dataset.observation.config
    if context.finished is None and config is not None and config.job.is_adopting:
        from batten.drive.adopt_finished import refuse_unfinished

        refuse_unfinished(context, config)
    if bring_in_order(context, dataset):
        dataset = look_again(context, dataset)
    if context.finished is not None:
        from batten.drive.adopt_finished import take_finished

        return take_finished(context, context.finished, deliverer, dataset, record)
    # A retry that was begun goes on, asked for or not: its records are gone already.
    failed = dataset.quarantined_batches if context.options.should_retry_quarantined else []
    to_retry = sorted(dataset.observation.reopened.union(failed))
    deliverer.know(items_of(context, plan_of(context, dataset)))
    deliverer.refuse_retry(set(to_retry) - dataset.observation.reopened)
    with context.timed("plan"):
        found = plan_of(context, dataset)
        plan, seen = plan_more(context, deliverer, dataset, found, context.pipeline.source)
    record_call(context, dataset)
    if seen.unproven:
        rows = count_of(sum(map(len, seen.unproven.values())) // DIGEST_BYTES, "row")
        context.progress.note(
            f"{rows} planned by an earlier batten, which kept no digests of them: whether they are "
            "what they were can't be told. From now on it can."
        )
    tell_versions(context, seen)
    parts = dataset.observation.parts
    outdated = PublishedVersions(context, dataset).find_outdated(plan, seen)
    to_retry = sorted({*to_retry, *outdated})
    pending = [batch for batch in range(plan.batches) if batch not in parts]
    # Rows of before must not be given to a destination that could not let go of them again.
    given = parts.keys() - dataset.observation.reopened.union(outdated)
    deliverer.look(given, items_of(context, plan))
    completion = dataset.observation.completion
    if storage.folder is None:
        observation = dataset.observation
        seen_before = len(observation.segments), observation.revised
        is_as_seen = (len(plan.segments), plan.revised) == seen_before
        is_complete = completion is not None and is_as_seen
    else:
        is_complete = storage.find(layout.complete) is not None
    told = completion.destinations if completion is not None else {}
    is_behind = is_complete and deliverer.is_behind(plan.batches, told)
    if is_complete and not pending and not to_retry and not is_behind:
        _refuse_lost_destinations(context)
        if find_refusal(storage, layout) is not None:
            record.begin()  # What kept the last run from beginning is gone.
        return make_report(context, RunStatus.NOTHING_TO_DO, dataset.accounts, dataset.rows, seen)
    if to_retry or is_behind:
        withdraw_completion(context, dataset)
    work = ToDo(pending=pending, to_reopen=to_retry, changed=frozenset(outdated))
    return _go_on(context, deliverer, dataset, plan, record, work, seen)


def _refuse_lost_destinations(context: Context) -> None:
    """Raises `InconsistentError` if a destination that can be looked at is gone, or lacks what it
    was given. Then nothing is left to do, and yet the dataset is not complete."""
    if context.pipeline.sinks:
        observation = observe_output(context.storage, context.layout, is_mine=True)
        if observation.failure is None:
            refuse_damaged(context, observation, judge(observation))


def _go_on(
    context: Context,
    deliverer: Deliverer,
    dataset: FoundDataset,
    plan: Plan,
    record: RunRecord,
    work: ToDo = NOTHING,
    seen: SourceLook | None = None,
) -> Report:
    """Do what is pending or to be tried again, deliver what is lacking, and close the accounts."""
    left = replace(dataset.accounts, pending=sum(plan.batch(each).items for each in work.pending))
    refuse_unfit(context, [check_disk(context, dataset.observation, left)])
    record.begin()
    driver: Driver | None = None
    rejected = deliverer.take(())
    while True:
        if work.pending or work.to_reopen or rejected:
            with collector_paused():
                from batten.drive.driver import Driver

            if driver is None:
                room = RoomWatch(context, plan, left)
                driver = Driver(context, dataset, plan, record, deliverer, room)
            driver.drive(work, rejected)
        try:
            with context.timed("account"):
                status, accounts, rows = close(context, plan, deliverer)
        except RejectedBatchesError as error:  # decision 0161
            work, rejected = NOTHING, error.batches
        else:
            return make_report(context, status, accounts, rows, seen)
