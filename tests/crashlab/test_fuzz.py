"""Odd folders against every command: a sample here, twenty thousand calls with `make crash`, and
any number with `python -m batten.crashlab.fuzz`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SEED = int(os.environ.get("BATTEN_SEED", "1"))
PROGRAM = """
import json, sys
from batten.crashlab.fuzz import fuzz

tally = fuzz(**json.loads(sys.argv[1]))
print(json.dumps([tally.calls.total(), tally.failures]))
"""


def check(calls: int, **options: int) -> None:
    """In a process of its own: what may be used of memory counts from nothing."""
    given = json.dumps({"calls": calls, "seed": SEED, **options})
    command = [sys.executable, "-c", PROGRAM, given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    total, failures = json.loads(done.stdout)
    assert total >= calls
    assert failures == []


def test_a_sample() -> None:
    check(400, jobs=1, block=110)


@pytest.mark.crash
def test_twenty_thousand() -> None:
    check(20_000)
