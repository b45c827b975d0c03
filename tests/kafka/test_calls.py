"""A driver that is killed before and after each call of the client: each row is there once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from tests.kafka import landing
from tests.kafka.rows import BATCH, ITEMS, job, list_keys, own_place, run
from tests.kafka.watching import watching

from batten.inspect.diagnose import diagnose
from batten.inspect.show import show
from batten.pipeline.pipeline import Pipeline
from batten.testing.kills import ClientCall, kill_at_call, list_calls

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

CLIENTS = (Producer, Consumer, AdminClient)
KEYS = range(ITEMS)
TOO_LARGE = 4
BYTES_MAX = 2000
MOST = 0.7
"""How many of the points the driver comes to again: it waits in loops, in which it asks more or
less often."""
SAMPLE = 3
SAMPLES = [SAMPLE, pytest.param(None, marks=pytest.mark.crash)]


@dataclass(frozen=True)
class Point:
    """A call of the client, and the side of it on which the driver dies."""

    call: ClientCall
    is_after: bool


def grow(number: int) -> dict[str, str]:
    """No compression makes it small."""
    size = BYTES_MAX if number == TOO_LARGE else 10
    return {"text": random.Random(number).randbytes(size).hex()}


def cut(keys: Sequence[int]) -> list[list[int]]:
    """What each batch has of these."""
    return [[key for key in keys if key // BATCH == batch] for batch in range(ITEMS // BATCH)]


def kill(pipeline: Pipeline, point: Point) -> bool:
    return kill_at_call(lambda: run(pipeline), CLIENTS, point.call, is_after=point.is_after)


def find_points(pipeline: Pipeline, sample: int | None, seeded: random.Random) -> list[Point]:
    """Both sides of each call that its run makes; or so many of them, each of another name."""
    calls = list_calls(lambda: run(pipeline), CLIENTS)
    points = [Point(call, is_after) for call in calls for is_after in (False, True)]
    if sample is None:
        return points
    names = seeded.sample(sorted({call.name for call in calls}), sample)
    return [seeded.choice([point for point in points if point.call.name == each]) for each in names]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("has_misfit", [False, True])
def test_each_row_is_there_once(
    has_misfit: bool,
    sample: int | None,
    broker: Broker,
    topic: str,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    """Who reads all the while sees batches whole, in the order of the plan. With an item that the
    topic can't take, a transaction is given up, too."""
    keys = [key for key in KEYS if not (has_misfit and key == TOO_LARGE)]

    def make(name: str) -> tuple[str, Pipeline]:
        own, folder = own_place(topic, tmp_path, name)
        if has_misfit:
            broker.make(own, max_message_bytes=str(BYTES_MAX))
        return own, job(broker, own, folder, grow)

    points = find_points(make("whole")[1], sample, seeded)
    killed = 0
    with watching(broker.servers) as watcher:
        for number, point in enumerate(points):
            own, pipeline = make(str(number))
            watcher.watch(own, cut(keys))
            killed += kill(pipeline, point)
            run(pipeline)
            assert watcher.ask(), point
            assert list_keys(broker, own) == keys, point
    assert killed > (0 if sample else MOST * len(points))


@pytest.mark.parametrize("sample", SAMPLES)
def test_without_transactions_each_row_is_there_at_least_once(
    sample: int | None, broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    def make(name: str) -> tuple[str, Pipeline]:
        own, folder = own_place(topic, tmp_path, name)
        return own, job(broker, own, folder, grow, transactions=False)

    points = find_points(make("whole")[1], sample, seeded)
    killed = doubled = 0
    for number, point in enumerate(points):
        own, pipeline = make(str(number))
        killed += kill(pipeline, point)
        run(pipeline)
        found = list_keys(broker, own)
        assert list(dict.fromkeys(found)) == list(KEYS), point
        twice = [key for key, count in Counter(found).items() if count > 1]
        assert len({key // BATCH for key in twice}) <= 1, (point, found)
        assert len(found) == len(KEYS) + len(twice), (point, found)
        doubled += bool(twice)
        for told in (diagnose(pipeline.output).to_json(), show(pipeline.output).to_json()):
            assert told["destinations"][0]["promise"] == "at least once"
    assert killed > (0 if sample else MOST * len(points))
    assert doubled or sample


@pytest.mark.parametrize("sample", SAMPLES)
def test_each_message_is_an_item_once(
    sample: int | None, broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    def make(name: str) -> tuple[str, Pipeline]:
        own, folder = own_place(topic, tmp_path, name)
        landing.fill(broker, own)
        return own, landing.job(broker, own, folder, group=own)

    points = find_points(make("whole")[1], sample, seeded)
    killed = 0
    for number, point in enumerate(points):
        own, pipeline = make(str(number))
        killed += kill(pipeline, point)
        landing.send(broker, own, 5)
        run(pipeline)
        landing.check_all(tmp_path / str(number), "12345")
    assert killed > (0 if sample else MOST * len(points))
