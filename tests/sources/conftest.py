"""What tests of sources share: planning a source as the engine does, and reading from the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from batten.sources.base import Reader, Source
from batten.testing.planning import SourcePlan, plan_source, read_range, show_items


@dataclass(frozen=True)
class Sources:
    """The functions above, for tests to call."""

    plan: Callable[[Source], SourcePlan]
    show: Callable[[Any], list[Any]]

    def read(self, source: Source) -> list[Any]:
        """All items, through a plan."""
        return self.read_range(source.open(), self.plan(source))

    def read_range(
        self, reader: Reader, plan: SourcePlan, start: int = 0, stop: int | None = None
    ) -> list[Any]:
        return read_range(reader, plan, start, stop)

    def pairs(self, source: Source) -> list[tuple[Any, Any]]:
        """Each key and its item."""
        plan = self.plan(source)
        keys = range(plan.count) if plan.keys is None else plan.keys
        return list(zip(keys, self.read_range(source.open(), plan), strict=True))


@pytest.fixture(scope="session")
def sources() -> Sources:
    return Sources(plan=plan_source, show=show_items)
