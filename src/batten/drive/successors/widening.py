"""Columns are added: a dataset with them is made beside the old one, of its rows.

It takes the place of the old one in one step, as one does that is computed anew. So readers of the
folder find one schema at any moment, and a kill leaves the old dataset or the new one (decision
0102).
"""

from __future__ import annotations

from dataclasses import replace

from batten.deliver.delivering import Deliverer
from batten.drive.preparing.config import make_config
from batten.drive.preparing.planning import items_of, plan_of
from batten.drive.successors.successor import Successor, give_up_begun, open_successor
from batten.errors import UsageError
from batten.ledger.facts.observation import Observation
from batten.ledger.files.schema_file import load_schema
from batten.model.disk.records import Config, Unreadable, encode_record
from batten.model.disk.staged_names import StagedChunk, find_staged
from batten.model.rules.findings import DOUBT, find_worst
from batten.model.words import FORMAT_TAKING_OVER
from batten.plan.extending import foresee_plan
from batten.plan.storing import list_beside
from batten.run.checks import refuse_unfit
from batten.run.context import Context
from batten.run.disk_room import check_disk
from batten.run.found.changed_job import is_same_job
from batten.run.found.changed_job_refusal import name_fresh_way
from batten.run.found.earlier import Earlier, take_earlier
from batten.run.found.found_dataset import FoundDataset, observe_free
from batten.sources.base import is_read_once
from batten.storage.base import Folder
from batten.storage.changing.orphans import delete_staged_orphans
from batten.storage.changing.publishing import create, put_aside
from batten.work.submitting.settling import settle_submissions
from batten.work.workforce import find_columns


def find_earlier(context: Context, dataset: FoundDataset) -> Earlier | None:
    """The dataset that is there, if it has columns to which others can be added. Raises
    `UsageError` for columns that can't be added to rows there are."""
    observation = dataset.observation
    if observation.config is None or _is_settled(context, dataset, observation.config):
        return None
    try:
        schema = load_schema(context.storage, context.layout.schema)
    except Unreadable:
        return None
    if not schema.names or not (observation.parts or observation.early):
        return None
    earlier = take_earlier(context.storage, context.layout, observation, schema)
    columns = find_columns(context.pipeline, schema).columns.values()
    for field in columns:
        if field is not None and not field.nullable and schema.get_field_index(field.name) < 0:
            raise UsageError(
                f"The column {field.name!r} may hold no null, and the rows there are would have "
                "nulls in it.",
                safe="Nothing was changed.",
                next="Let the column hold nulls; or compute all items anew: "
                f"{context.wish('fresh')}",
            )
    return earlier


def _is_settled(context: Context, dataset: FoundDataset, config: Config) -> bool:
    """Whether the job as it is now made all there is, of what the source has now. So a command that
    is repeated finds nothing to add."""
    observation = dataset.observation
    is_retried = context.options.should_retry_quarantined and dataset.quarantined_batches
    return (
        is_same_job(context, config.fingerprint, dataset.fingerprint)
        and observation.completion is not None
        and not (is_retried or observation.reopened)
        and not _finds_more(context, dataset)
    )


def _finds_more(context: Context, dataset: FoundDataset) -> bool:
    """Whether items of the source are new or have changed. Their rows may have a column that it got
    since."""
    source = context.pipeline.source
    if is_read_once(source):
        return False
    plan = plan_of(context, dataset)
    ways_on = name_fresh_way(context, dataset.observation)
    new, seen = foresee_plan(source, plan, context.options.limit, ways_on=ways_on)
    return bool(new or seen.differences.changed)


def begin_widened(
    context: Context, deliverer: Deliverer, dataset: FoundDataset, earlier: Earlier
) -> Successor:
    """One of the rows there are, with columns added. Raises where a destination can't be given
    columns, or the rows of items that are retried."""
    orphans = [entry.name for entry in dataset.judgement.orphans]
    delete_staged_orphans(context.folder, context.layout, orphans)
    deliverer.know(items_of(context, plan_of(context, dataset)))
    deliverer.refuse_columns()
    if context.options.should_retry_quarantined:
        retried = set(dataset.quarantined_batches) - dataset.observation.reopened
        deliverer.refuse_retry(retried)
    check = check_disk(context, dataset.observation, dataset.accounts, is_anew=True)
    refuse_unfit(context, [check])
    inner = _begin_beside(context, dataset, earlier)
    return open_successor(inner, dataset.fingerprint, dataset.work, asks=deliverer)


def _begin_beside(context: Context, dataset: FoundDataset, earlier: Earlier) -> Context:
    """The context of the dataset that is made beside it, which has the same plan. What a killed
    run made of the same rows for the same job goes on; anything else there goes."""
    storage, layout = context.folder, context.layout
    settle_submissions(context, layout)
    inner = replace(context, layout=layout.fresh, is_beside=True, earlier=earlier)
    begun, judged = observe_free(inner)
    config = begun.config
    is_same = (
        config is not None
        and config.takes_over == earlier.digest
        and is_same_job(context, config.fingerprint, dataset.fingerprint)
    )
    if not is_same or find_worst(judged.findings) in DOUBT:
        give_up_begun(context)
    fresh = inner.layout
    for folder in (fresh.control, fresh.plan, fresh.staging, fresh.staged):
        storage.ensure_folder(folder)
    if storage.find(fresh.config) is None:
        made = replace(
            make_config(inner, dataset),
            takes_over=earlier.digest,
            format_version=FORMAT_TAKING_OVER,
        )
        create(storage, fresh.staging, fresh.config, encode_record(made))
    _copy_plan(storage, inner, dataset.observation)
    _copy_staged(storage, inner, dataset.observation)
    return inner


def _copy_plan(storage: Folder, inner: Context, observation: Observation) -> None:
    """What lies beside the record of a segment comes first: without it, it means nothing."""
    layout, fresh = inner.layout, inner.layout
    if inner.earlier is not None:
        layout = inner.earlier.layout
    for segment in observation.segments:
        number = segment.number
        if storage.find(fresh.segment(number)) is not None:
            continue
        for old, new in zip(list_beside(layout, number), list_beside(fresh, number), strict=True):
            if storage.find(old) is not None:
                storage.delete(new)
                create(storage, fresh.staging, new, storage.read(old, bytes_max=None))
        record = storage.read(layout.segment(number))
        create(storage, fresh.staging, fresh.segment(number), record)


def _copy_staged(storage: Folder, inner: Context, observation: Observation) -> None:
    """Finished items that are not published yet. Those that other code made are of no use, which
    is seen when they are read."""
    start = len(observation.layout.staged) + 1
    for entry in observation.staged:
        found = find_staged(entry.name[start:])
        if not isinstance(found, StagedChunk) or storage.find(entry.name) is None:
            continue  # what no run can adopt is gone
        name = inner.layout.staged_chunk(found)
        if storage.find(name) is None:
            data = storage.read(entry.name, bytes_max=None)
            put_aside(storage, inner.layout.staging, name, data, is_synced=False)
