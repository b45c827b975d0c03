"""`plan/upstream.json`: which batches of a dataset upstream are planned, and as what.

The dataset of now is held against it: what has the same digest need not be read (decision 0093).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from batten.model.disk.bounds import (
    BATCHES_MAX,
    RECORD_BYTES_MAX,
    Count,
    Many,
    Name,
    Position,
    Prose,
    Text,
    Version,
)
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

RUNS_MAX = 1 << 21
"""Runs of items that a record holds at most. Batches that would need more are read each time."""


@value_class
class LookedBatch:
    """A batch of the dataset upstream. `digest` stands for its rows and their keys; it had so many
    `rows`. `runs` says which items of the plan they are, in order: the number of the first item and
    how many follow it, again and again. It is empty where some row is no item."""

    number: Position
    digest: Name
    rows: Count
    runs: Annotated[list[Count], Many(2 * RUNS_MAX)]

    @property
    def is_whole(self) -> bool:
        """Whether each row is an item, so that the rows need not be read to find these."""
        return sum(self.runs[1::2]) == self.rows

    def find_fault(self) -> str:
        """In which way its fields don't fit each other."""
        return "the runs of a batch have no end" if len(self.runs) % 2 else ""


@value_class
class LookedUpstream:
    """What was seen of a dataset upstream when it was looked at last. `path` leads there from the
    folder of the output, or is an address. `source` is the identity of the source, `complete`
    stands for the record that its accounts are closed. The plan had so many `items` then.
    `has_moved`: the plan itself no longer tells where they are. `drops_gone`: rows of items that
    are gone there go here, too."""

    path: Annotated[str, Text(1 << 16, r"[^\0]+")]
    source: Prose
    complete: Name
    items: Count
    has_moved: bool
    drops_gone: bool
    batches: Annotated[list[LookedBatch], Many(BATCHES_MAX)]
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["upstream"]
