"""Tries of a function that awaits."""

from __future__ import annotations

import asyncio
import random

import pytest

import batten
from batten.engine.async_calls import AsyncCall
from batten.engine.calls import ItemFailedError
from batten.executors.marks import MarkTable, SlotMark


async def fail(_item: int) -> None:
    raise ConnectionError("the server is busy")


def test_pauses_between_tries_are_drawn_at_random_below_a_limit_that_doubles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that calls which failed together are not repeated together."""
    drawn = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    monkeypatch.setattr(random, "uniform", draw)
    step = batten.from_range(1).map(fail, concurrency=1, retries=3).steps[0]
    place = SlotMark(MarkTable(1).records[0])

    async def call() -> None:
        await AsyncCall(step, asyncio.Event()).run(0, 0, place)

    with pytest.raises(ItemFailedError):
        asyncio.run(call())
    assert drawn == [(0, 0.1), (0, 0.2), (0, 0.4)]
