"""A broker that fails while a topic is read, and others in the same group: nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from tests.kafka.landing import check_all, fill, job, send
from tests.kafka.rows import own_place, run

from batten.crashlab.servers.broker_relay import Asked, BrokerRelay, nth
from batten.crashlab.servers.relay import Mishap
from batten.errors import BattenError, RefusedError, StorageError

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

HANGS = (Mishap.HANG_BEFORE, Mishap.HANG_AFTER)
POINTS = [
    *((Asked.FETCH, number) for number in range(4)),
    *((Asked.LIST_OFFSETS, number) for number in range(3)),
    *((Asked.METADATA, number) for number in range(4)),
    *((Asked.OFFSET_COMMIT, number) for number in range(2)),
    *((each, 0) for each in (Asked.API_VERSIONS, Asked.FIND_COORDINATOR)),
]


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("failure", list(Mishap), ids=lambda each: each.name)
def test_a_connection_fails_while_a_topic_is_read(
    failure: Mishap,
    sample: int | None,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    seconds = 2.0 if failure in HANGS else 20.0
    for request, number in seeded.sample(POINTS, sample) if sample else POINTS:
        own, folder = own_place(topic, tmp_path, request.name, number)
        fill(broker, own)
        relay.fail(nth(request, number), failure)
        options = {"servers": relay.servers, "group": own}
        told = ""
        try:
            run(job(broker, own, folder, timeout_seconds=seconds, **options))
        except StorageError as error:
            told = error.safe
        # What a group is told is a hint.
        assert not told or request is not Asked.OFFSET_COMMIT
        assert told.startswith("What was landed stays.") or not told
        relay.fail(None, failure)
        run(job(broker, own, folder, **options))
        check_all(folder)


_E = KafkaError
ANSWERS: list[tuple[Asked, Sequence[int], type[BattenError] | None]] = [
    (Asked.FETCH, [_E.NOT_LEADER_FOR_PARTITION, _E.REPLICA_NOT_AVAILABLE], None),
    (Asked.FETCH, [_E.OFFSET_OUT_OF_RANGE, _E.INVALID_MSG, _E.UNKNOWN], StorageError),
    (Asked.FETCH, [_E.TOPIC_AUTHORIZATION_FAILED], RefusedError),
    (Asked.LIST_OFFSETS, [_E.NOT_LEADER_FOR_PARTITION, _E.UNKNOWN], StorageError),
    (Asked.LIST_OFFSETS, [_E.TOPIC_AUTHORIZATION_FAILED], RefusedError),
    (Asked.METADATA, [_E.LEADER_NOT_AVAILABLE, _E.UNKNOWN], StorageError),
    (Asked.METADATA, [_E.TOPIC_AUTHORIZATION_FAILED, _E.UNKNOWN_TOPIC_OR_PART], RefusedError),
    (Asked.OFFSET_COMMIT, [_E.REBALANCE_IN_PROGRESS, _E.UNKNOWN_MEMBER_ID], None),
    (Asked.OFFSET_COMMIT, [_E.ILLEGAL_GENERATION, _E.GROUP_AUTHORIZATION_FAILED], None),
]


@pytest.mark.parametrize(
    ("request_kind", "code", "expected"),
    [(asked, code, expected) for asked, codes, expected in ANSWERS for code in codes],
    ids=lambda each: each.name if isinstance(each, Asked) else str(each),
)
def test_a_broker_answers_with_an_error(
    request_kind: Asked,
    code: int,
    expected: type[BattenError] | None,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
) -> None:
    fill(broker, topic)
    pipeline = job(broker, topic, tmp_path, servers=relay.servers, group=topic, timeout_seconds=5)
    relay.answer(request_kind, topic, code)
    if expected is None:
        run(pipeline)
    else:
        with pytest.raises(expected) as told:
            run(pipeline)
        assert "was landed" in told.value.safe
    assert relay.has_answered
    run(pipeline)
    check_all(tmp_path)


class Member:
    """Another consumer of a group, which subscribes. So the broker moves partitions to it."""

    def __init__(self, broker: Broker, group: str, topic: str) -> None:
        self._assigned: list[TopicPartition] = []
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.servers,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def join(self, present: Sequence[Member] = ()) -> None:
        """It has partitions when this returns, and told the group of them. Those `present` give
        some of theirs away."""
        self._consumer.subscribe([self._topic], on_assign=self._note)
        while not self._assigned:
            for each in (self, *present):
                each._consumer.poll(0.05)
        told = [TopicPartition(self._topic, each.partition, 1) for each in self._assigned]
        self._consumer.commit(offsets=told, asynchronous=False)

    def leave(self) -> None:
        self._consumer.close()

    def _note(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = partitions
        consumer.assign(partitions)


@contextmanager
def members(broker: Broker, topic: str) -> Iterator[list[Member]]:
    made = [Member(broker, topic, topic) for _ in range(2)]
    try:
        yield made
    finally:
        for each in made:
            each.leave()


MOMENTS = [
    *((Asked.FETCH, number) for number in range(3)),
    *((Asked.OFFSET_COMMIT, number) for number in range(2)),
    (Asked.LIST_OFFSETS, 0),
]


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
def test_others_join_and_leave_the_group_while_a_topic_is_landed(
    sample: int | None,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    """Partitions are assigned, so nobody takes one away. What the group is told is a hint."""
    for request, number in seeded.sample(MOMENTS, sample) if sample else MOMENTS:
        own, folder = own_place(topic, tmp_path, request.name, number)
        fill(broker, own)
        pipeline = job(broker, own, folder, servers=relay.servers, group=own)
        met: list[str] = []

        def meet(what: str, action: Callable[[], None], met: list[str] = met) -> Callable[[], None]:
            def do() -> None:
                action()
                met.append(what)

            return do

        with members(broker, own) as (one, other):
            relay.fail(nth(request, number), None, meet("joined", one.join))
            run(pipeline)
            check_all(folder)
            send(broker, own, 5)
            send(broker, own, 6, partition=1)
            relay.fail(nth(request, number), None, meet("left", other.leave))
            other.join([one])
            run(pipeline)
        assert met == ["joined", "left"], own
        check_all(folder, "123456")
        assert run(pipeline).executed_items == 0
