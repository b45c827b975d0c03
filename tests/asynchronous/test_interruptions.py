"""Killed or told to stop with calls in flight: no more than those are made again."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batten.crashlab.random_kills import Victim, run_with_random_kills
from batten.model.disk.staged_names import StagedChunk, find_staged

if TYPE_CHECKING:
    from conftest import Endpoint, Folder, Reply

PATIENCE_SECONDS = 120.0

JOB = """
    pipeline = (
        batten.from_range(ITEMS).map(Ask, concurrency=CONCURRENCY, retries=1).write_parquet("out")
        .options(batch_size=40)
    )
"""


def write_job(folder: Folder, items: int, concurrency: int) -> None:
    folder.write_job(JOB.replace("ITEMS", str(items)).replace("CONCURRENCY", str(concurrency)))


def count_staged(folder: Path) -> int:
    staged = [find_staged(path.name) for path in (folder / "out.batten" / "staged").glob("*.arrow")]
    return sum(each.items for each in staged if isinstance(each, StagedChunk))


def wait_for(condition: Callable[[], bool]) -> None:
    """Watch what another process does to files."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("is_pinned", [False, True])
def test_only_calls_in_flight_are_made_again(
    endpoint: Endpoint, folder: Folder, is_pinned: bool
) -> None:
    """Every seventh call hangs; the others are staged, whether or not a first batch pinned the
    schema."""
    items = 200
    hanging = set(range(50 if is_pinned else 3, items, 7))

    async def behave(item: int, times: int) -> Reply:
        if item in hanging:
            await endpoint.until(lambda: endpoint.is_released)
        return endpoint.answer(item)

    endpoint.behave = behave
    write_job(folder, items, len(hanging) + 1)
    first = folder.start()
    published = 40 if is_pinned else 0
    wait_for(lambda: count_staged(folder.path) == items - len(hanging) - published)
    first.send_signal(signal.SIGKILL)
    assert folder.finish(first).exit_code == -signal.SIGKILL
    assert (folder.path / "out.batten" / "schema.json").exists() == is_pinned

    endpoint.release()
    ended = folder.run()
    assert ended.exit_code == 0, ended.stderr
    assert ended.told["executed_items"] == len(hanging)
    assert ended.told["adopted_items"] == items - len(hanging) - published
    assert {item for item, times in endpoint.calls.items() if times > 1} == hanging
    assert [row["answer"] for row in folder.rows()] == [item * item for item in range(items)]


def test_killed_at_random_moments(
    endpoint: Endpoint, make_folder: Callable[[str], Folder], seeded: random.Random
) -> None:
    items, concurrency, kills = 600, 16, 5
    undisturbed, killed = make_folder("undisturbed"), make_folder("killed")
    slow = {item: seeded.random() * 0.2 for item in range(items)}

    async def behave(item: int, times: int) -> Reply:
        await asyncio.sleep(slow[item])
        return endpoint.reply(status=500) if item % 31 == times else endpoint.answer(item)

    for folder in (undisturbed, killed):
        write_job(folder, items, concurrency)
    assert undisturbed.run().exit_code == 0
    endpoint.calls.clear()
    endpoint.behave = behave
    runs = run_with_random_kills(
        killed.command,
        kills=kills,
        delay_seconds_max=8.0,
        seed=seeded.getrandbits(32),
        targets=[Victim.TREE],
        environment=killed.environment,
        working_folder=killed.path,
        timeout_seconds=PATIENCE_SECONDS,
    )
    assert runs.survivors == 0
    assert killed.parts == undisturbed.parts
    told = json.loads(runs.attempts[-1].stdout)
    assert told["items"]["committed"] == items


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_begins_no_call_and_waits_for_those_in_flight(
    endpoint: Endpoint, folder: Folder, number: signal.Signals
) -> None:
    items, concurrency = 50, 5

    async def behave(item: int, times: int) -> Reply:
        await endpoint.until(lambda: endpoint.is_released)
        return endpoint.reply(status=500) if item == 2 and times == 1 else endpoint.answer(item)

    endpoint.behave = behave
    write_job(folder, items, concurrency)
    first = folder.start()
    endpoint.wait_until(lambda: endpoint.in_flight == concurrency)
    first.send_signal(number)
    runs = folder.path / "out.batten" / "runs"
    wait_for(lambda: any('"signal"' in log.read_text() for log in runs.glob("*.jsonl")))
    endpoint.release()
    stopped = folder.finish(first)
    assert stopped.exit_code == 75, stopped.stderr
    assert stopped.told["executed_items"] == concurrency - 1
    assert sum(endpoint.calls.values()) == concurrency
    assert count_staged(folder.path) == concurrency - 1

    ended = folder.run()
    assert ended.exit_code == 0, ended.stderr
    assert (ended.told["executed_items"], ended.told["adopted_items"]) == (46, 4)
    assert {item for item, times in endpoint.calls.items() if times > 1} == {2}


def test_a_signal_ends_what_waits_for_another_try(endpoint: Endpoint, folder: Folder) -> None:
    """A host that asks for an hour of patience does not hold the end up."""

    async def behave(item: int, times: int) -> Reply:
        return endpoint.reply(status=429, headers={"Retry-After": "3600"})

    endpoint.behave = behave
    write_job(folder, 20, 5)
    run = folder.start()
    endpoint.wait_until(lambda: sum(endpoint.answered.values()) == 5)
    run.send_signal(signal.SIGTERM)
    stopped = folder.finish(run)
    assert stopped.exit_code == 75, stopped.stderr
    assert sum(endpoint.calls.values()) == 5
