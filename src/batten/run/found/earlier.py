"""A dataset whose rows become rows of another one, which is to take its place (decision 0102)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from batten.ledger.facts.observation import Observation
from batten.model.disk.names import Layout
from batten.model.value_class import value_class
from batten.storage.base import Store

if TYPE_CHECKING:
    import pyarrow as pa


@value_class
class Earlier:
    """`batches` are those that have parts, and `schema` are their columns without the key;
    `digest` stands for all of it."""

    layout: Layout
    batches: frozenset[int]
    schema: pa.Schema
    digest: str


def take_earlier(
    storage: Store, layout: Layout, observation: Observation, schema: pa.Schema
) -> Earlier:
    """The observed dataset, as it is while its lock is held."""
    batches = frozenset(observation.parts.keys() | observation.early)
    digest = hashlib.sha256()
    names = [layout.config, *map(layout.commit, sorted(observation.recorded))]
    names += [layout.segment(segment.number) for segment in observation.segments]
    for name in names:
        digest.update(storage.read(name))
    digest.update(repr(sorted(observation.parts.items())).encode())
    return Earlier(layout=layout, batches=batches, schema=schema, digest=digest.hexdigest())
