"""Folders of partitions under power cuts: readers find the old one whole or the new one whole, and
the next run ends as if nothing had been."""

from __future__ import annotations

import random
from typing import Any

import pytest

import batten
from batten.crashlab.power_sweeps import Act, sweep_power
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.model.disk.names import Layout
from batten.model.rules.findings import Code
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage

LAYOUT = Layout("out", is_inside=True)
SAMPLED_STATES = 10
NOT_ON_DISK = Code.NOT_LOOKED_AT
"""The folder is in memory as well, where nobody looks for it."""


def give(number: int) -> dict[str, Any]:
    return {"kind": "abc"[number % 3], "value": number}


def negate(number: int) -> dict[str, Any]:
    return {"kind": "abc"[number % 3], "value": -number}


def act(count: int, function: Any = give, **options: Any) -> Act:
    made = batten.from_range(count).map(function).options(batch_size=2)
    pipeline = made.write_parquet("/out", partition_by="kind")
    return lambda storage: run_on(
        storage, pipeline, RunOptions(jobs=1, executor="serial", **options)
    )


def see(storage: MemoryStorage) -> dict[str, bytes]:
    return {
        name: data
        for name, data in storage.snapshot().items()
        if name.startswith("out/") and data is not None
    }


def find_left(storage: MemoryStorage) -> list[str]:
    return [name for name in storage.snapshot() if name.startswith(".out.")]


SCENARIOS = {
    "first": (None, act(5)),
    "extended": (act(3), act(6)),
    "fresh": (act(4, negate), act(4, is_fresh=True)),
}


@pytest.mark.parametrize("sample", [SAMPLED_STATES, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_power_lost(
    name: str, sample: int | None, seeded: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9)
    before, run = SCENARIOS[name]
    swept = sweep_power(
        LAYOUT,
        run,
        see,
        before=before,
        is_at_once=True,
        left=find_left,
        tolerated=frozenset({Code.DAMAGED_LOG, NOT_ON_DISK}),
    )
    assert swept.new
    assert swept.new != swept.old
    for found in swept.choose(seeded, sample):
        swept.check(found)
