"""Brings a dataset in order before work begins.

What must be there is written, and what a crash left half done is completed.
"""

from __future__ import annotations

from dataclasses import replace

from batten.drive.preparing.config import make_config, put_config
from batten.errors import RefusedError
from batten.ledger.commit_records import rebuild_records, retire_earlier, withdraw_parts
from batten.ledger.facts.secrecy import take_out, take_out_of_fresh
from batten.ledger.files.schema_file import rebuild_schema
from batten.model.disk.names import Layout
from batten.model.disk.records import Config, decode_record, encode_record
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of
from batten.model.words import FORMAT_VERSION
from batten.plan.storing import delete_segments
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.found.changed_job import is_blank, is_same_job
from batten.run.found.found_dataset import FoundDataset
from batten.storage.base import Folder
from batten.storage.changing.orphans import delete_orphans
from batten.storage.changing.publishing import replace as replace_file


def bring_in_order(context: Context, dataset: FoundDataset) -> bool:
    """Write what must be there before work begins, complete what a crash left half done, and make
    names durable that a killed process may have left unsynced. True if what was found before no
    longer holds."""
    if context.storage.folder is None:
        return _bring_store_in_order(context, dataset)
    storage, layout = context.folder, context.layout
    folders = (layout.data, layout.control, layout.plan, layout.commits, layout.quarantine)
    for folder in (*folders, layout.staging, layout.staged, layout.runs):
        storage.ensure_folder(folder)
    if context.pipeline.file_names is not None:
        storage.ensure_folder(layout.made)
    for folder in folders:
        storage.sync_names(folder)
    observation = dataset.observation
    config = observation.config
    if config is not None and observation.holds_clear_secrets:
        take_out(storage, layout, config)
    take_out_of_fresh(storage, layout)
    has_new_config = config is None or config.fingerprint.digest != dataset.fingerprint.digest
    if has_new_config:
        _write_config(context, dataset)
    unrecorded = [f.batch for f in dataset.judgement.findings if f.code is Code.MISSING_RECORD]
    if config is not None and not has_new_config and not context.is_beside:
        settle_config(storage, layout)
    rebuild_records(
        storage,
        layout,
        [batch for batch in unrecorded if batch is not None],
        run=context.run,
        time=utc_now(),
    )
    if observation.lacks_schema:
        parts = observation.parts.keys() | observation.early
        rebuild_schema(storage, layout, parts, context.pipeline.settings.key_column)
    # This run may come to retire more of the same batches, under names of their own.
    retire_earlier(storage, layout, dataset.retried, run=f"{context.run}-before")
    delete_orphans(storage, [entry.name for entry in dataset.judgement.orphans])
    withdraw_parts(storage, layout, sorted(observation.early))
    return has_new_config or bool(observation.early)


def settle_config(storage: Folder, layout: Layout) -> None:
    """The dataset has the place of the one whose rows it took over, so it is one as any other."""
    config = decode_record(Config, storage.read(layout.config))
    if config.takes_over:
        now = replace(config, takes_over="", format_version=FORMAT_VERSION)
        replace_file(storage, layout.staging, layout.config, encode_record(now))


def record_call(context: Context, dataset: FoundDataset) -> None:
    """Keep how the job was started, if that was another way or place, and whether rows of what is
    gone are to go: advice is made of it."""
    config, drops_gone = dataset.observation.config, context.pipeline.source.drops_gone
    if config is not None and (config.job, config.drops_gone) != (context.call, drops_gone):
        now = replace(
            config,
            job=context.call,
            next=context.options.next_command,
            drops_gone=drops_gone,
        )
        storage, layout, data = context.storage, context.layout, encode_record(now)
        if storage.folder is None:
            put_config(storage, layout, data, dataset.observation.config_version)
        else:
            replace_file(storage, layout.staging, layout.config, data)


def _write_config(context: Context, dataset: FoundDataset) -> None:
    """There may have been another record, or it is gone, and nothing was published under it. Then
    its plan and schema go first, from the end. So what a crash leaves is a shorter plan of the
    earlier one.
    """
    storage, layout = context.folder, context.layout
    before = dataset.observation.config
    config = make_config(context, dataset)
    data = encode_record(config)
    if before is not None and is_same_job(context, before.fingerprint, dataset.fingerprint):
        # Only the form differs in which it is kept, so what batten 0.1 staged is of use.
        replace_file(storage, layout.staging, layout.config, data)
        return
    if before is not None and not is_blank(context, dataset.observation, dataset.fingerprint):
        staged = dataset.accounts.staged
        if not context.options.accepts_change:
            context.progress.note(
                "The code has changed: quarantined items are tried again with the current code, "
                "and all other rows stay."
            )
        if staged:
            context.progress.note(
                f"{count_of(staged, 'finished item')} not published yet: made by the code of "
                "before, and computed again."
            )
        # The change was accepted. Chunks of the old code can't be part of a batch of the new.
        delete_orphans(storage, [entry.name for entry in dataset.observation.staged])
        replace_file(storage, layout.staging, layout.config, data)
        return
    storage.delete(layout.schema)
    storage.delete(layout.upstream)
    if not dataset.observation.staged:
        delete_segments(storage, layout, dataset.observation.segments)
    storage.sync_names(layout.control)
    replace_file(storage, layout.staging, layout.config, data)


def _bring_store_in_order(context: Context, dataset: FoundDataset) -> bool:
    """On a store without a lock others may be at work meanwhile. So nothing is deleted: what a
    crash left in `staged/` may be in use by another run."""
    storage, layout = context.storage, context.layout
    observation = dataset.observation
    config = observation.config
    has_new_config = config is None or config.fingerprint.digest != dataset.fingerprint.digest
    if has_new_config:
        if config is not None and is_blank(context, observation, dataset.fingerprint):
            _refuse_other_plan(context)
        data = encode_record(make_config(context, dataset))
        put_config(storage, layout, data, observation.config_version)
    unrecorded = [f.batch for f in dataset.judgement.findings if f.code is Code.MISSING_RECORD]
    batches = [batch for batch in unrecorded if batch is not None]
    rebuild_records(storage, layout, batches, run=context.run, time=utc_now())
    if observation.lacks_schema:
        key = context.pipeline.settings.key_column
        rebuild_schema(storage, layout, observation.parts, key)
    return has_new_config


def _refuse_other_plan(context: Context) -> None:
    raise RefusedError(
        f"{context.path} was planned by other code or settings, and nothing is published yet.",
        safe="Nothing was changed.",
        next="Undo the change, or make a new dataset, since no plan is taken back here: "
        + context.wish("fresh"),
    )
