"""Plans a source as a run does, in memory, and reads items by the plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from batten.sources.base import ItemsWanted, Reader, Source, Unavailable


@dataclass
class SourcePlan:
    """All that a scan gave, in one piece.

    Attributes:
        count: How many items there are.
        keys: Their keys; None if the source gives none.
        positions: Their positions; None if the source gives none.
        payloads: Their payloads; None if the source gives none.
        block_counts: How many items each block has.
    """

    count: int = 0
    keys: list[str] | None = None
    positions: list[int] | None = None
    payloads: list[bytes] | None = None
    block_counts: list[int] = field(default_factory=list)

    def wanted(self, start: int = 0, stop: int | None = None) -> ItemsWanted:
        """Make what asks a reader for items.

        Args:
            start: The number of the first item; 0 by default.
            stop: The number after the last item; by default all are asked for.

        Returns:
            What to give to `Reader.read`.
        """
        stop = self.count if stop is None else stop
        return ItemsWanted(
            first_ordinal=start,
            count=stop - start,
            keys=None if self.keys is None else self.keys[start:stop],
            positions=None if self.positions is None else self.positions[start:stop],
            payloads=None if self.payloads is None else self.payloads[start:stop],
        )


def plan_source(source: Source) -> SourcePlan:
    """Scan the source, and hold its blocks against what they promise.

    Args:
        source: As a job declares it.

    Returns:
        The plan of all its items.

    Raises:
        AssertionError: Blocks don't fit each other, or the source.
    """
    plan = SourcePlan(keys=[] if source.is_keyed else None)
    for block in source.scan():
        for name in ("keys", "positions", "payloads"):
            values = getattr(block, name)
            if values is None:
                assert getattr(plan, name) is None, f"blocks have {name}, and one has none"
                continue
            assert name != "keys" or source.is_keyed, "blocks have keys, and is_keyed is False"
            assert len(values) == block.count, f"a block has {len(values)} {name}"
            setattr(plan, name, [*(getattr(plan, name) or []), *values])
        plan.count += block.count
        plan.block_counts.append(block.count)
    return plan


def show_items(items: Iterable[Any]) -> list[Any]:
    """Items that can be compared: an unavailable one as the kind and text of its error."""
    return [
        ("unavailable", type(item.error).__name__, str(item.error))
        if isinstance(item, Unavailable)
        else item
        for item in items
    ]


def read_range(
    reader: Reader, plan: SourcePlan, start: int = 0, stop: int | None = None
) -> list[Any]:
    """The items of the plan from `start` to `stop`, as `show_items` gives them."""
    wanted = plan.wanted(start, stop)
    return show_items(reader.read(wanted)) if wanted.count else []


def read_source(source: Source) -> list[Any]:
    """All items, through a plan.

    Args:
        source: As a job declares it.

    Returns:
        The items; one that can't be had as ("unavailable", the kind of its error, its text).
    """
    return read_range(source.open(), plan_source(source))
