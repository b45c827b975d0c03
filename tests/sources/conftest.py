"""What tests of sources share: planning a source as the engine does, and reading from the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from batten.sources.base import ItemsWanted, Reader, Source, Unavailable


@dataclass
class Plan:
    """All that a scan gave, in one piece."""

    count: int = 0
    keys: list[str] | None = None
    positions: list[int] | None = None
    payloads: list[bytes] | None = None
    block_counts: list[int] = field(default_factory=list)

    def wanted(self, start: int = 0, stop: int | None = None) -> ItemsWanted:
        stop = self.count if stop is None else stop
        return ItemsWanted(
            first_ordinal=start,
            count=stop - start,
            keys=None if self.keys is None else self.keys[start:stop],
            positions=None if self.positions is None else self.positions[start:stop],
            payloads=None if self.payloads is None else self.payloads[start:stop],
        )


def make_plan(source: Source) -> Plan:
    plan = Plan(keys=[] if source.is_keyed else None)
    for block in source.scan():
        for name in ("keys", "positions", "payloads"):
            values = getattr(block, name)
            if values is None:
                assert getattr(plan, name) is None
                continue
            assert name != "keys" or source.is_keyed
            assert len(values) == block.count
            setattr(plan, name, [*(getattr(plan, name) or []), *values])
        plan.count += block.count
        plan.block_counts.append(block.count)
    return plan


def show(items: Any) -> list[Any]:
    """Items that can be compared: an unavailable one as the kind and text of its error."""
    return [
        ("unavailable", type(item.error).__name__, str(item.error))
        if isinstance(item, Unavailable)
        else item
        for item in items
    ]


@dataclass(frozen=True)
class Sources:
    """The functions above, for tests to call."""

    plan: Callable[[Source], Plan]
    show: Callable[[Any], list[Any]]

    def read(self, source: Source) -> list[Any]:
        """All items, through a plan."""
        return self.read_range(source.open(), self.plan(source))

    def read_range(
        self, reader: Reader, plan: Plan, start: int = 0, stop: int | None = None
    ) -> list[Any]:
        wanted = plan.wanted(start, stop)
        return self.show(reader.read(wanted)) if wanted.count else []

    def pairs(self, source: Source) -> list[tuple[Any, Any]]:
        """Each key and its item."""
        plan = self.plan(source)
        keys = range(plan.count) if plan.keys is None else plan.keys
        return list(zip(keys, self.read_range(source.open(), plan), strict=True))


@pytest.fixture(scope="session")
def sources() -> Sources:
    return Sources(plan=make_plan, show=show)
