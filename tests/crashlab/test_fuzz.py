"""Odd folders against every command: a sample here, twenty thousand calls with `make crash`, and
any number with `python -m batten.crashlab.fuzz`."""

from __future__ import annotations

import os

import pytest

from batten.crashlab.fuzz import fuzz
from batten.crashlab.fuzzing.place import Tally

SEED = int(os.environ.get("BATTEN_SEED", "1"))


def check(tally: Tally, calls: int) -> None:
    assert tally.calls.total() >= calls
    assert tally.failures == []


def test_a_sample() -> None:
    check(fuzz(calls=400, seed=SEED, jobs=1, block=110), 400)


@pytest.mark.crash
def test_twenty_thousand() -> None:
    check(fuzz(calls=20_000, seed=SEED), 20_000)
