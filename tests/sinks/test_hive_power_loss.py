"""Folders of partitions under power cuts: readers find the old one whole or the new one whole, and
the next run ends as if nothing had been."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import batten
from batten.crashlab.power import find_states, record_cuts, sample_states
from batten.drive import waiting
from batten.drive.run import run_on
from batten.model.disk.names import Layout
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage

LAYOUT = Layout("out", is_inside=True)
SAMPLED_STATES = 10


def give(number: int) -> dict[str, Any]:
    return {"kind": "abc"[number % 3], "value": number}


def negate(number: int) -> dict[str, Any]:
    return {"kind": "abc"[number % 3], "value": -number}


def act(count: int, function: Any = give, **options: Any) -> Callable[[MemoryStorage], object]:
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
    storage = MemoryStorage()
    if before is not None:
        before(storage)
    old = see(storage)
    cuts = record_cuts(storage, run, LAYOUT)
    new = see(storage)
    assert new
    assert new != old
    states = (
        find_states(cuts, LAYOUT, seeded) if sample is None else sample_states(cuts, seeded, sample)
    )
    for found in states:
        assert see(found.storage) in (old, new), found.how
        run(found.storage)
        assert see(found.storage) == new, found.how
        left = [each for each in found.storage.snapshot() if each.startswith(".out.")]
        assert not left, found.how
