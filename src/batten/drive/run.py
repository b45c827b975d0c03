"""One run of a pipeline: look, decide, plan, prepare, publish, account."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from batten.deliver.delivering import Deliverer, refuse_strangers
from batten.drive.adopting import refuse_unfinished, take_finished
from batten.drive.closing import close, make_report
from batten.drive.config import choose_batch_size
from batten.drive.dry_run import foresee
from batten.drive.flight import forget_crashes_with
from batten.drive.in_order import bring_in_order, record_call, settle_config
from batten.drive.outdated import PublishedVersions, tell_versions
from batten.drive.widening import begin_beside, find_earlier, look_beside, refuse_beside
from batten.drive.worker_checks import check_workers
from batten.errors import BattenError, UsageError
from batten.executors.output import output_may_be_lost
from batten.jobs.definition import Definition
from batten.jobs.job_folder import (
    refuse_file,
    refuse_folder,
    refuse_place,
    refuse_tree,
    show_path,
)
from batten.jobs.making_files import check_files
from batten.jobs.step import check_steps
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.ledger.replacement import replace_dataset, roll_forward
from batten.ledger.runs import find_refusal
from batten.model.disk.names import Layout
from batten.model.disk.records import Fingerprint
from batten.model.disk.row_digests import DIGEST_BYTES
from batten.model.rules.findings import Severity, find_worst
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import RunStatus, State, Takes
from batten.plan.changed_items import find_batches
from batten.plan.differing import SourceDiffersError
from batten.plan.extending import extend_plan
from batten.plan.plan import Plan
from batten.plan.planned_items import PlannedItems
from batten.plan.source_look import SourceLook
from batten.run.changed_job import name_fresh_way
from batten.run.checks import RoomWatch, check_disk, list_checks, refuse_unfit
from batten.run.clock import new_run, utc_now
from batten.run.context import Context
from batten.run.events import tell_logging
from batten.run.found_dataset import (
    FirstRowsError,
    FoundDataset,
    look,
    look_again,
    observe_free,
    refuse_damaged,
    refuse_other_job,
)
from batten.run.identity import identify_pipeline
from batten.run.open_files import open_files_raised
from batten.run.place_of_ledger import choose_ledger
from batten.run.progress import Progress, Silent
from batten.run.recording import RunRecord, recorded, refusals_logged
from batten.run.report import Report
from batten.run.run_options import RunOptions
from batten.sinks.files.file import FileSink
from batten.sinks.files.hive import HiveSink
from batten.sinks.files.tree import TreeSink
from batten.sources.finished import FinishedRows
from batten.storage.base import Store
from batten.storage.blame import machine_blamed
from batten.storage.local.folder import LocalStorage
from batten.storage.local.upkeep import delete_staged_orphans, take_lock
from batten.storage.publishing import make_folders
from batten.work.item_files import check_kept


@value_class
class ToDo:
    """Batches to be done: those without a part, and those of which some items are computed again,
    since they have `changed` or gone, or had failed."""

    pending: Sequence[int] = ()
    to_reopen: Sequence[int] = ()
    changed: Collection[int] = ()


NOTHING = ToDo()

DAMAGE = (Severity.INCONSISTENT, Severity.CORRUPT, Severity.UNKNOWN)


def run_pipeline(
    pipeline: Definition,
    options: RunOptions,
    progress: Progress | None,
    finished: FinishedRows | None = None,
) -> Report:
    """Run on local files; see `Pipeline.run`. With `finished` rows, adopt these."""
    pipeline = choose_ledger(pipeline)
    output = _check(pipeline, options)
    local = LocalStorage(output.parent)
    storage = pipeline.store.open() if pipeline.store is not None else local
    return run_on(storage, pipeline, options, progress, finished)


def run_on(
    storage: Store,
    pipeline: Definition,
    options: RunOptions,
    progress: Progress | None = None,
    finished: FinishedRows | None = None,
) -> Report:
    """Run on any storage. Returns when the accounts closed, or as `Pipeline.run` says; a
    `BattenError` that is raised carries the report of what was reached as `report`."""
    output = _check(pipeline, options)
    if pipeline.whole is not None:
        # Its items are descriptions; the function has a process of its own.
        options = replace(options, executor="serial", jobs=1)
    context = Context(
        pipeline=pipeline,
        options=options,
        storage=storage,
        layout=Layout(
            output.name,
            is_inside=pipeline.is_ledger_inside,
            is_shared=storage.folder is None,
        ),
        path=show_path(output) if pipeline.store is None else pipeline.store.shown,
        run=new_run(),
        progress=progress or Silent(),
        finished=finished,
    )
    if storage.folder is None:
        _refuse_beyond_store(storage, pipeline, options)
    has_begun_before = storage.find(context.layout.control) is not None
    try:
        with output_may_be_lost(), open_files_raised():
            return tell_logging(context, _run)
    except BattenError as error:
        if not has_begun_before:
            _tell_folder(context, error)
        error.report = error.report or make_report(context, RunStatus.FAILED, None)
        raise


def _refuse_beyond_store(storage: Store, pipeline: Definition, options: RunOptions) -> None:
    """Raises `UsageError` for what needs a folder of a file system."""
    reason = ""
    if pipeline.sinks or pipeline.finalizers or pipeline.whole is not None:
        reason = "only a dataset of parts can lie there"
    elif options.is_fresh or options.adds_columns:
        reason = "a dataset can't take the place of another one there"
    if reason:
        raise UsageError(
            f"{storage.place} is no folder of a file system: {reason}.",
            safe="Nothing was read or written.",
            next="Write to another place, or to a folder of this machine.",
        )


def _tell_folder(context: Context, error: BattenError) -> None:
    """The code that said "nothing was changed" did not know that this run is the first."""
    with suppress(BattenError):
        control = context.layout.control
        if error.safe.startswith("Nothing") and context.storage.find(control) is not None:
            place = context.storage.place
            is_path = context.storage.folder is not None
            made = show_path(Path(place) / control) if is_path else f"{place}/{control}"
            error.safe += f" There is {made} now, where the next run goes on."


def _check(pipeline: Definition, options: RunOptions) -> Path:
    if pipeline.output is None:
        raise UsageError(
            "The pipeline has no sink, so its rows would go nowhere.",
            safe="Nothing was read or written.",
            next='End it with a sink: .write_parquet("features/").',
        )
    pipeline.refuse_double()
    finalized = [each.output for each in pipeline.finalizers]
    trees = [sink.path for sink in pipeline.sinks if isinstance(sink, TreeSink)]
    own = [pipeline.output] if pipeline.store is None else []
    for output in (*own, *finalized):
        refuse_place(output)
        refuse_tree(output, trees)
    places = [path for sink in pipeline.sinks for path in getattr(sink, "places", ())]
    for made in (*pipeline.list_made(), *trees, *places):
        refuse_place(made, pipeline.output)
    for output in finalized if pipeline.is_ledger_inside else (*own, *finalized):
        refuse_folder(output)
    for sink in pipeline.sinks:
        sink.check()
        if isinstance(sink, FileSink | HiveSink):
            is_of_table = pipeline.is_ledger_inside and pipeline.file_names is None
            refuse_file(sink.path, None if is_of_table else Path(pipeline.output))
    if pipeline.settings.batch_size != 1 and any(
        sink.takes is Takes.ITEMS for sink in pipeline.sinks
    ):
        raise UsageError(
            f"batch_size is {pipeline.settings.batch_size}, and .write_tree() takes items one at "
            "a time.",
            safe="Nothing was read or written.",
            next="Leave batch_size= out.",
        )
    if options.adds_columns and pipeline.whole is not None:
        raise UsageError(
            "add_columns= is for datasets of items, and .apply() makes its file anew each time.",
            safe="Nothing was read or written.",
            next="Leave it out.",
        )
    check_steps(pipeline.steps)
    if pipeline.file_names is not None:
        refuse_folder(output)
        check_files(pipeline)
        check_kept(pipeline.steps)
    check_workers(pipeline, options)
    if pipeline.settings.schema is not None:
        from batten.rows.schema import read_schema_option

        read_schema_option(pipeline.settings.schema, pipeline.settings.key_column)
    return Path(pipeline.output)


@machine_blamed()
def _run(context: Context) -> Report:
    identity = context.identity = identify_pipeline(context.pipeline, context.options.parameters)
    identity.check_secrets()
    fingerprint, work = identity.fingerprint, identity.work
    if context.pipeline.finalizers:
        from batten.finalize.finalize import check_finalizers

        check_finalizers(context.pipeline.finalizers)
    if context.options.is_dry_run:
        return _finalize(context, foresee(context, fingerprint, work))
    with ExitStack() as stack:
        stack.enter_context(context.signals)
        is_new = context.storage.find(context.layout.control) is None
        if is_new:
            look(context, fingerprint, work)
            refuse_strangers(context)
            refuse_unfit(context, list_checks(context))
            make_folders(context.storage, [context.layout.control])
        stack.enter_context(take_lock(context.storage, context.layout, context.path))
        stack.callback(context.progress.close)
        stack.enter_context(refusals_logged(context))
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
        return _finalize(context, replace(report, destinations=deliverer.report()))


def _is_of_no_use(context: Context, fingerprint: Fingerprint) -> bool:
    """Whether what an earlier run began is nothing but what it knew of its tables, and they or the
    function are others now. Then nothing is lost by beginning anew."""
    if context.pipeline.whole is None or context.options.resume == "never":
        return False
    observation, judgement = observe_free(context)
    config = observation.config
    is_open = config is not None and observation.completion is None
    is_other = config is not None and not context.is_same(config.fingerprint, fingerprint)
    return is_open and is_other and find_worst(judgement.findings) not in DAMAGE


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

    return finalize_all(context, report)


def _run_fresh(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Report:
    """Make a new dataset beside the old one, which stays as it is until the new one is complete.
    A killed one is taken up again by the next fresh run, if it is of the same fingerprint."""
    storage, layout = context.folder, context.layout
    observation, judgement = observe_free(context)
    refuse_other_job(context, observation, fingerprint)
    is_damaged = find_worst(judgement.findings) in DAMAGE
    if judgement.verdict.state is State.UNKNOWN or (
        observation.config is None and not observation.parts and not is_damaged
    ):
        return _work(context, deliverer, look(context, fingerprint, work))
    deliverer.refuse_fresh()
    delete_staged_orphans(storage, layout, [entry.name for entry in judgement.orphans])
    inner = replace(context, layout=layout.fresh, is_beside=True)
    begun, judged = observe_free(inner)
    is_same = (
        begun.config is not None
        and not begun.config.takes_over
        and context.is_same(begun.config.fingerprint, fingerprint)
    )
    is_rowless = bool(begun.parts) and not judged.rows
    if not is_same or is_rowless or find_worst(judged.findings) in DAMAGE:
        storage.delete_tree(layout.fresh_folder)
    if not is_damaged:
        refuse_unfit(context, [check_disk(context, observation, judgement.accounts, is_anew=True)])
    storage.ensure_folder(inner.layout.control)
    # The destinations are the old dataset's until the new one has taken its place.
    dataset = look(inner, fingerprint, work)
    try:
        report = _work(inner, Deliverer(inner, ()), dataset)
    except SourceDiffersError:
        # A killed fresh run began this for an earlier source, so nothing is lost with it.
        storage.delete_tree(layout.fresh_folder)
        storage.ensure_folder(inner.layout.control)
        dataset = look(inner, fingerprint, work)
        report = _work(inner, Deliverer(inner, ()), dataset)
    return _take_place(context, inner, deliverer, dataset, report)


def _run_adding(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Report:
    """Make a dataset of the rows there are, with columns added, and put it in the place of the old
    one when it is complete."""
    dataset = look(context, fingerprint, work)
    earlier = find_earlier(context, dataset)
    if earlier is None:
        return _work_or_fresh(context, deliverer, fingerprint, work)
    orphans = [entry.name for entry in dataset.judgement.orphans]
    delete_staged_orphans(context.folder, context.layout, orphans)
    deliverer.know(_items_of(context, plan_of(context, dataset)))
    refuse_beside(context, deliverer, dataset)
    refuse_unfit(
        context, [check_disk(context, dataset.observation, dataset.accounts, is_anew=True)]
    )
    inner = begin_beside(context, dataset, earlier)
    report = _work(inner, Deliverer(inner, (), asks=deliverer), look_beside(inner, dataset))
    return _take_place(context, inner, deliverer, dataset, report)


def _take_place(
    context: Context,
    inner: Context,
    deliverer: Deliverer,
    dataset: FoundDataset,
    report: Report,
) -> Report:
    """The dataset beside takes the place of the old one, if it is complete."""
    storage, layout = context.folder, context.layout
    if report.status in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO):
        storage.ensure_folder(layout.staging)
        deliverer.open_again()
        replace_dataset(storage, layout, run=context.run, time=utc_now())
        settle_config(storage, layout)
        report = replace(report, status=RunStatus.COMPLETE)
        if context.pipeline.sinks:
            context.executed_items = inner.executed_items
            context.adopted_items = inner.adopted_items
            report = _deliver_anew(context, deliverer, look_again(context, dataset), report)
    return report


def _deliver_anew(
    context: Context, deliverer: Deliverer, dataset: FoundDataset, report: Report
) -> Report:
    """A dataset has taken the place of another one: it is complete when its destinations are."""
    _withdraw_completion(context, dataset)
    plan = plan_of(context, dataset)
    deliverer.look(range(plan.batches), _items_of(context, plan))
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
    if context.finished is None:
        refuse_unfinished(context, dataset)
    if bring_in_order(context, dataset):
        dataset = look_again(context, dataset)
    if context.finished is not None:
        return take_finished(context, context.finished, deliverer, dataset, record)
    # A retry that was begun goes on, asked for or not: its records are gone already.
    failed = dataset.quarantined_batches if context.options.should_retry_quarantined else []
    to_retry = sorted(dataset.observation.reopened.union(failed))
    deliverer.know(_items_of(context, plan_of(context, dataset)))
    deliverer.refuse_retry(set(to_retry) - dataset.observation.reopened)
    versions = PublishedVersions(context, dataset)
    with context.timed("plan"):
        plan, seen = extend_plan(
            storage,
            layout,
            context.pipeline.source,
            plan_of(context, dataset),
            choose_batch_size(context, dataset.observation.config),
            limit=context.options.limit,
            ways_on=name_fresh_way(context, dataset.observation),
            before_change=lambda: _withdraw_completion(context, dataset),
            before_revision=lambda items: _allow_change(context, dataset, deliverer, items),
            published_revision=versions.revision_of,
            between_blocks=context.refuse_stopped,
        )
    record_call(context, dataset)
    if seen.unproven:
        rows = count_of(sum(map(len, seen.unproven.values())) // DIGEST_BYTES, "row")
        context.progress.note(
            f"{rows} planned by an earlier batten, which kept no digests of them: whether they are "
            "what they were can't be told. From now on it can."
        )
    tell_versions(context, seen)
    parts = dataset.observation.parts
    outdated = versions.find_outdated(plan, seen)
    to_retry = sorted({*to_retry, *outdated})
    pending = [batch for batch in range(plan.batches) if batch not in parts]
    # Rows of before must not be given to a destination that could not let go of them again.
    given = parts.keys() - dataset.observation.reopened.union(outdated)
    deliverer.look(given, _items_of(context, plan))
    completion = dataset.observation.completion
    if storage.folder is None:
        is_as_seen = len(plan.segments) == len(dataset.observation.segments)
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
        _withdraw_completion(context, dataset)
    work = ToDo(pending=pending, to_reopen=to_retry, changed=outdated)
    return _go_on(context, deliverer, dataset, plan, record, work, seen)


def _allow_change(
    context: Context, dataset: FoundDataset, deliverer: Deliverer, items: set[int]
) -> None:
    """Raises `RefusedError` where a destination could not let go of the rows of these items. What
    was in hand at crashes was something else."""
    batches = find_batches(plan_of(context, dataset), items)
    PublishedVersions(context, dataset).allow(batches, deliverer)
    forget_crashes_with(context.storage, context.layout, items)


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
    rejected = deliverer.take(())
    if work.pending or work.to_reopen or rejected:
        from batten.drive.driver import Driver

        driver = Driver(context, dataset, plan, record, deliverer, RoomWatch(context, plan, left))
        driver.drive(work.pending, work.to_reopen, work.changed, rejected)
    with context.timed("account"):
        status, accounts, rows = close(context, plan, deliverer)
    return make_report(context, status, accounts, rows, seen)


def plan_of(context: Context, dataset: FoundDataset) -> Plan:
    found = dataset.judgement.plan
    return Plan(context.storage, context.layout, list(found.segments) if found else [])


def _items_of(context: Context, plan: Plan) -> PlannedItems:
    return PlannedItems(plan, context.pipeline.source)


def _withdraw_completion(context: Context, dataset: FoundDataset) -> None:
    """The dataset is about to grow or change. So first the record that it is complete goes."""
    folder = context.storage.folder
    # Elsewhere it bears in its name what it completes, and means nothing of anything else.
    if dataset.is_complete and folder is not None:
        folder.delete(context.layout.complete)
        folder.sync_names(context.layout.control)
