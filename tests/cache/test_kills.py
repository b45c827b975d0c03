"""Killed around every call, or every call failing: the result is right, and the cache sound."""

from __future__ import annotations

import errno
import random
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.cache.clearing.inspection import verify_cache
from batten.crashlab.faults import Fail
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.crashlab.tracing.system_calls import CHANGING, CallKind

pytestmark = needs_tracing

PROGRAM = """
    import logging, sys
    from pathlib import Path
    from batten.cache.cache import Cache

    logging.basicConfig(level=logging.ERROR)

    def build(folder):
        (folder / "a").write_bytes(b"a" * 5000)

    def square(number):
        return number * number

    # Room for one folder and one value, so that some are evicted.
    cache = Cache("cache", max_bytes=32768, disk_free_min=0)
    total = cache.memo(square)(3)
    for number in (1, 1, 2):
        with cache.get_or_create(("folder", number), build) as entry:
            total += len((entry.path / "a").read_bytes())
    cache.statistics()
    print(total)
"""
RESULT = 3 * 5000 + 9

OTHER_CODES = (errno.ENOSPC, errno.EACCES)
LOOKING = frozenset(CallKind) - CHANGING
OF_THE_CACHE = ("*/manifest", "*/budget", "*/locks/*", "*/statistics*", "*/swept", "*/building/*")
"""The rest is read by the program itself, whose failures are its own."""

AMONG = [(CHANGING, "*"), *((LOOKING, path) for path in OF_THE_CACHE)]
FAILURES: list[MakeFault] = [
    *(partial(Fail, error=errno.EIO, kinds=kinds, path=path) for kinds, path in AMONG),
    *(
        AtEachPlace(partial(Fail, error=code, kinds=kinds, path=path))
        for code in OTHER_CODES
        for kinds, path in AMONG
    ),
]


def _prepare(folder: Path) -> None:
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))


def _check_done(folder: Path, trail: Trail) -> None:
    assert trail.last.stdout == f"{RESULT}\n", trail.last.stderr


def _check_sound(folder: Path, trail: Trail) -> None:
    assert "Traceback" not in trail.last.stderr, trail.last.stderr
    if list(folder.glob("cache/*")):
        assert verify_cache(folder / "cache").damaged == []


def _experiment(kinds: frozenset[CallKind] = CHANGING) -> Experiment:
    return Experiment(
        prepare=_prepare,
        command=lambda folder: [sys.executable, "program.py"],
        folders=lambda folder: [folder / "cache"],
        check=_check_done,
        check_always=_check_sound,
        kinds=kinds,
        is_forked=True,
        is_seen_whole=True,
    )


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    disturb(
        _experiment(),
        tmp_path,
        seeded=seeded,
        sample=sample,
    )


@pytest.mark.parametrize("sample", [6, pytest.param(None, marks=pytest.mark.crash)])
def test_any_call_fails(sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    disturb(
        _experiment(frozenset(CallKind)),
        tmp_path,
        seeded=seeded,
        faults=FAILURES,
        sample=sample,
    )
