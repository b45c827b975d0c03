"""What a look at the source found."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from batten.plan.changed_items import Differences
from batten.plan.looking import UpstreamLook


@dataclass
class SourceLook:
    """What a look at the source found, besides the new items it yields. `positions` are those
    of all planned items, where the source has moved some of them; `unproven` the digests of
    segments of which an earlier batten kept none. `differences` are those of planned items with a
    key; `gone` counts those that the source no longer has and whose rows are kept. `ways_on` says
    how to compute all anew. `upstream` notes which items the batches of a dataset are."""

    ways_on: str
    differences: Differences

    seen: int = 0
    duplicates: int = 0
    examples: list[str] = field(default_factory=list)
    gone: int = 0
    is_limited: bool = False
    positions: array[int] | None = None
    unproven: dict[int, bytearray] = field(default_factory=dict)
    between_blocks: Callable[[], None] = lambda: None
    upstream: UpstreamLook | None = None

    def note(self, first: int, count: int = 1) -> None:
        """The next items of the source are these of the plan, by their number."""
        if self.upstream is not None:
            self.upstream.note(first, count)

    def pass_over(self) -> None:
        """The next item of the source came before."""
        if self.upstream is not None:
            self.upstream.pass_over()

    @property
    def removed(self) -> int:
        """How many keys were found to be gone, whether their rows are kept or not."""
        return self.gone + self.differences.removed
