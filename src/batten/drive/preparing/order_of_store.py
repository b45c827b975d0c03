"""Brings a dataset in order on a store that has no lock: others may be at work meanwhile.

Nothing is deleted there: what a crash left in `staged/` may be in use by another run.
"""

from __future__ import annotations

from batten.drive.preparing.config import make_config, put_config
from batten.errors import RefusedError
from batten.ledger.files.schema_file import rebuild_schema
from batten.model.disk.records import encode_record
from batten.model.rules.findings import Code
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset, is_blank
from batten.storage.local.locking.upkeep import rebuild_records


def bring_store_in_order(context: Context, dataset: FoundDataset) -> bool:
    """See `bring_in_order`."""
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
