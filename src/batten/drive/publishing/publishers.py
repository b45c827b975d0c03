"""Who publishes sealed batches: under the lock of a folder, or guarded by the store itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from batten.deliver.guarded_publisher import GuardedPublisher
from batten.deliver.publisher import Publisher
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset
from batten.work.tasks import Sealed


class AnyPublisher(Protocol):
    """`reopened` are batches whose part is to be replaced."""

    reopened: set[int]

    def give_up(self, batches: Sequence[int]) -> None: ...

    def publish(self, ready: Sequence[Sealed], leftovers: Iterable[str]) -> None: ...


def make_publisher(context: Context, dataset: FoundDataset) -> AnyPublisher:
    """The one for the place of this run."""
    layout, observation = context.layout, dataset.observation
    if context.storage.folder is None:
        return GuardedPublisher(
            context.storage, layout, run=context.run, versions=observation.versions
        )
    tried = observation.given_up.union(observation.quarantine)
    made = layout.made if context.pipeline.file_names is not None else None
    return Publisher(context.storage.folder, layout, run=context.run, tried=tried, made=made)
