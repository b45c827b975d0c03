"""Plans without a disk, for tests of the driver's policy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import batten
from batten.model.disk.names import Layout
from batten.plan.extending import WhoPlans, extend_plan
from batten.plan.plan import Plan
from batten.storage.twin.memory import MemoryStorage

MakePlan = Callable[[int, int], Plan]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def layout(storage: MemoryStorage) -> Layout:
    made = Layout("out")
    for folder in (made.control, made.plan, made.staging, made.runs):
        storage.ensure_folder(folder)
    return made


@pytest.fixture
def make_plan(storage: MemoryStorage, layout: Layout) -> MakePlan:
    """So many items in batches of so many."""

    def make(items: int, batch_size: int) -> Plan:
        plan, _ = extend_plan(
            storage,
            layout,
            batten.from_range(items).source,
            Plan(storage, layout, []),
            batch_size,
            ways_on="",
            who=WhoPlans(before_change=lambda: None),
        )
        return plan

    return make
