"""The record of what a dataset is: `dataset.json`."""

from __future__ import annotations

from batten.ledger.guarded import carry_out
from batten.model.disk.names import Layout
from batten.model.disk.records import Config
from batten.model.rules.guards import BEGINNING, CHANGING
from batten.run.clock import utc_now, utc_now_exact
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset
from batten.run.found.place_of_ledger import describe_target
from batten.run.identity import keep_parameters
from batten.storage.base import Store

BATCH_SIZE_MIN = 1000
BATCH_SIZE_MAX = 10_000
BATCHES_ABOUT = 25
"""Where the job does not say how many items make a part: few parts, and none too large for
memory."""


def choose_batch_size(context: Context, config: Config | None) -> int:
    """What the job says, else what the dataset has, else by how many items there are (decision
    0014)."""
    said = context.pipeline.settings.batch_size
    if said is not None:
        return said
    if config is not None:
        return config.batch_size
    batches = BATCHES_ABOUT * BATCH_SIZE_MIN
    count = context.pipeline.source.count_items() or 0
    rounded = -(-count // batches) * BATCH_SIZE_MIN
    return min(max(rounded, BATCH_SIZE_MIN), BATCH_SIZE_MAX)


def make_config(context: Context, dataset: FoundDataset) -> Config:
    """The record of this run's job. It knows the fingerprints of before."""
    settings = context.pipeline.settings
    before = dataset.observation.config
    batch_size = choose_batch_size(context, before)
    earlier = [*before.earlier_fingerprints, before.fingerprint.digest] if before else []
    earlier = [each for each in earlier if each != dataset.fingerprint.digest]
    return Config(
        fingerprint=dataset.fingerprint,
        batch_size=batch_size,
        key_column=settings.key_column,
        source=dataset.fingerprint.parts.get("source", ""),
        sink=context.pipeline.sink_kind,
        parameters=keep_parameters(context.options.parameters),
        next=context.options.next_command,
        created=utc_now() if context.storage.folder is not None else utc_now_exact(),
        earlier_fingerprints=earlier,
        job=context.call,
        target=describe_target(context.pipeline),
        drops_gone=context.pipeline.source.drops_gone,
    )


def put_config(storage: Store, layout: Layout, data: bytes, seen: str) -> None:
    """Write the record to a store without a lock, in the place of the version that was `seen`."""
    for step in CHANGING if seen else BEGINNING:
        carry_out(storage, step, layout.config, data, seen=seen)
