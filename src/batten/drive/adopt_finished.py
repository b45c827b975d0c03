"""Takes over what a hand-made job had finished, so that the next run computes only the rest.

The plan begins with the items that have rows, and the rest comes after them. So whole batches are
adopted: they go the way of all batches, with rows that are read in the place of those that the
functions would make. A kill leaves a dataset whose record names the files of rows, and the same
command goes on (decision 0097).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NoReturn

from batten.deliver.delivering import Deliverer
from batten.drive.closing import close, make_report
from batten.drive.driver import Driver
from batten.drive.preparing.in_order import record_call
from batten.drive.preparing.pinning import store_schema
from batten.drive.preparing.planning import items_of, plan_more, plan_of
from batten.drive.to_do import ToDo
from batten.errors import RefusedError, usage_error
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.jobs.step import Step
from batten.ledger.contents import load_commit
from batten.ledger.files.schema_file import decode_schema
from batten.model.disk.outcomes import decode_outcomes
from batten.model.disk.records import Config
from batten.model.disk.runs.job_calls import compose
from batten.model.telling.counts import count_of
from batten.model.words import RunStatus, Takes
from batten.plan.keys.key_index import KeyIndex
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.plan.storing import delete_segments
from batten.run.checks import refuse_unfit
from batten.run.context import Context
from batten.run.disk_room import RoomWatch, check_disk
from batten.run.found.found_dataset import FoundDataset, look_again
from batten.run.report import Report
from batten.run.telling.recording import RunRecord
from batten.sources.finished import FinishedItems, FinishedRows, give_rows
from batten.storage.changing.orphans import delete_orphans


def refuse_unadoptable(pipeline: Definition) -> None:
    """Raises `UsageError` for a job whose rows can't be adopted."""
    reason = next = ""
    if pipeline.whole is not None:
        reason, next = "takes whole tables", "Run it: a table has no rows that are done before it."
    elif any(sink.takes is Takes.ITEMS for sink in pipeline.sinks):
        reason = "changes a live tree"
        next = "Write rows: .write_parquet(); or let the job do all items."
    elif pipeline.file_names is not None:
        reason, next = "makes files", "Let the job make them, in a folder of its own."
    elif pipeline.store is not None:
        reason = "writes to a store that is no folder"
        next = "Adopt into a folder of this machine."
    elif not pipeline.source.is_keyed:
        reason = "has a source without keys, so it can't be told which item a row is of"
        next = 'Name the field that tells items apart: key="…" in the source.'
    if reason:
        raise usage_error(f"Rows can't be adopted: the job {reason}.", next)


def refuse_unfinished(context: Context, config: Config) -> NoReturn:
    """An adoption has not ended: a run would compute what is finished."""
    again = compose(config.job, here=context.options.call.folder)
    raise RefusedError(
        f"The rows of {show_path(Path(config.job.rows[0]))} are being adopted into {context.path}, "
        "and that has not ended: a run would compute their items again.",
        safe="Nothing was changed; what is adopted stays.",
        next=f"Let it end: {again}; or compute all anew: {context.again_fresh}",
    )


def take_finished(
    context: Context,
    rows: FinishedRows,
    deliverer: Deliverer,
    dataset: FoundDataset,
    record: RunRecord,
) -> Report:
    """Adopt all items of the source that have rows, and plan the rest."""
    if _is_computed(dataset):
        _refuse_beside_computed(context, rows, dataset)
        return _report(context, dataset)
    _forget_unpublished(context, dataset)
    # First, so that until this has ended the record says what is to be adopted.
    record_call(context, dataset)
    dataset = look_again(context, dataset)
    deliverer.know(items_of(context, plan_of(context, dataset)))
    finished = FinishedItems(context.pipeline.source, rows)
    with context.timed("plan"):
        plan, _ = plan_more(context, deliverer, dataset, plan_of(context, dataset), finished)
        chosen = range(plan.batches)
        plan, seen = plan_more(context, deliverer, dataset, plan, context.pipeline.source)
    if chosen:
        _pin(context, rows)
        published = dataset.observation.parts
        pending = [
            batch
            for batch in chosen
            if batch not in published and all(map(rows.has, plan.key_texts(plan.batch(batch))))
        ]
        _publish(context, finished, deliverer, dataset, plan, record, pending)
        context.adopted_items = sum(plan.batch(batch).items for batch in pending)
    call = replace(context.options.call, rows=[], rows_key="", done="")
    context.options = replace(context.options, call=call)
    dataset = look_again(context, dataset)
    record_call(context, dataset)
    if not chosen:
        _refuse_foreign(rows, plan)
    if len(dataset.observation.parts) < plan.batches:
        return _report(context, dataset, seen)
    with context.timed("account"):
        status, accounts, count = close(context, plan, deliverer)
    return make_report(context, status, accounts, count, seen)


def _is_computed(dataset: FoundDataset) -> bool:
    """Whether there is anything that was not adopted. While an adoption has not ended, all is."""
    observation = dataset.observation
    if observation.config is not None and observation.config.job.is_adopting:
        return False
    counts = observation.claims.count_all()
    return (
        observation.completion is not None
        or bool(observation.staged or observation.reopened or observation.given_up)
        or counts.adopted != counts.items
    )


def _refuse_beside_computed(context: Context, rows: FinishedRows, dataset: FoundDataset) -> None:
    """Raise if there are rows of items that are not published: the plan stands, and a run may be
    half way through any batch. What is adopted already may be adopted again."""
    plan, published = plan_of(context, dataset), KeyIndex()
    versions = dataset.observation.versions
    for number in dataset.observation.parts:
        of = versions.get(number, "")
        claim = load_commit(context.storage, context.layout, number, context.path, of=of)
        keys = plan.key_texts(plan.batch(number))
        for key, outcome in zip(keys, decode_outcomes(claim.outcomes), strict=True):
            if outcome.has_rows:
                published.add(key)
    found = (block.keys or () for block in FinishedItems(context.pipeline.source, rows).scan())
    left = [key for key in chain.from_iterable(found) if published.find(key) is None]
    if left:
        raise RefusedError(
            f"{context.path} holds what a run computed, and rows are adopted before the first run: "
            f"{count_of(len(left), 'item')} with rows would not be taken, {left[0]} first.",
            safe="Nothing was changed.",
            next=f"Let it compute the rest: {context.again_run}; or adopt into a new output.",
        )


def _forget_unpublished(context: Context, dataset: FoundDataset) -> None:
    """Of the plan, the segments of which nothing is published: the rest is planned anew after the
    items that have rows. What is staged goes first and for good, for it is of the plan of before.
    """
    storage, layout, observation = context.folder, context.layout, dataset.observation
    delete_orphans(storage, [entry.name for entry in observation.staged])
    storage.sync_names(layout.staged)
    published = max(observation.parts, default=-1)
    delete_segments(
        storage,
        layout,
        [each for each in observation.segments if each.first_batch > published],
    )


def _pin(context: Context, rows: FinishedRows) -> None:
    """The columns of the dataset are those of the rows that were looked through."""
    try:
        pinned = decode_schema(context.storage.read(context.layout.schema))
    except FileNotFoundError:
        store_schema(context, rows.schema)
        return
    if not pinned.equals(rows.schema):
        raise RefusedError(
            f"The columns of {context.path} are others than when the rows were looked through.",
            safe="Nothing was changed.",
            next="Run the same command again.",
        )


def _publish(
    context: Context,
    finished: FinishedItems,
    deliverer: Deliverer,
    dataset: FoundDataset,
    plan: Plan,
    record: RunRecord,
    pending: list[int],
) -> None:
    """Publish and deliver these batches: the same as in a run, but for where rows come from."""
    deliverer.look(dataset.observation.parts, items_of(context, plan))
    left = replace(dataset.accounts, pending=sum(plan.batch(each).items for each in pending))
    refuse_unfit(context, [check_disk(context, dataset.observation, left)])
    record.begin()
    rejected = deliverer.take(())
    if not pending and not rejected:
        return
    settings = replace(
        context.pipeline.settings, on_error="raise", stop_when=None, worker_items_max=None
    )
    # Its count of executed items is none of this run's: no function of the job is called.
    inner = replace(
        context,
        pipeline=replace(
            context.pipeline,
            source=finished,
            steps=(Step(kind="flat_map", function=give_rows),),
            settings=settings,
        ),
        options=replace(context.options, executor="serial", jobs=1),
        is_adopting=True,
    )
    room = RoomWatch(inner, plan, left)
    Driver(inner, dataset, plan, record, deliverer, room).drive(ToDo(pending=pending), rejected)


def _refuse_foreign(rows: FinishedRows, plan: Plan) -> None:
    """Raise where no row is of an item of the source."""
    own = plan.key_texts(plan.batch(0))[0] if plan.items else ""
    theirs = next(rows.list_keys())
    what = "The source has no items" if not own else f"The source's first key is {own!r}"
    raise RefusedError(
        f"None of the rows is of an item of the source. {what}, the rows' first is {theirs!r}.",
        safe="Nothing was adopted, and the files of rows are as they were.",
        next="Name the field with the keys of the source by --key, or mend the rows.",
    )


def _report(context: Context, dataset: FoundDataset, seen: SourceLook | None = None) -> Report:
    is_complete = dataset.observation.completion is not None
    status = RunStatus.NOTHING_TO_DO if is_complete else RunStatus.ADOPTED
    return make_report(context, status, dataset.accounts, dataset.rows, seen)
