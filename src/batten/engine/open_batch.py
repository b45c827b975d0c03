"""A batch that is being worked on, and the ranges of its items."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from batten.engine.calls import Failure
from batten.engine.tasks import Sealed
from batten.model.names import StagedChunk
from batten.model.value_class import value_class


@value_class
class Range:
    """Items to be done. `deaths` counts the workers that died with it in hand. With a `company` it
    is under suspicion of ending the run: at most so many items are in hand while it is."""

    start: int
    stop: int
    deaths: int = 0
    timeouts: int = 0
    is_apart: bool = False
    company: int | None = None
    condemned: Failure | None = None


@dataclass(kw_only=True)
class OpenBatch:
    """A batch that is being worked on."""

    number: int
    items: int
    todo: deque[Range]
    chunks: list[StagedChunk] = field(default_factory=list)
    running: int = 0
    is_sealing: bool = False
    is_rowless: bool = False
    is_reopened: bool = False
    sealed: Sealed | None = None

    @property
    def is_finished(self) -> bool:
        """Whether all its items are staged and it can be sealed."""
        return (
            not self.todo
            and not self.running
            and self.sealed is None
            and not self.is_sealing
            and self.staged_items == self.items
        )

    @property
    def staged_items(self) -> int:
        if self.sealed is not None:
            return self.items
        return sum(chunk.items for chunk in self.chunks)
