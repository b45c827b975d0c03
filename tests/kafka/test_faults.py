"""A broker that is cut off, hangs or ends, and drivers that are killed: each row is there once."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError
from tests.kafka.rows import BATCH, check_all, job, own_place, run, see_failure
from tests.kafka.watching import watching

from batten.crashlab.servers.broker_relay import Asked, BrokerRelay, nth
from batten.crashlab.servers.relay import Mishap
from batten.errors import BusyError, InconsistentError, RefusedError, StorageError
from batten.kafka import cluster, sending
from batten.sinks.kafka import destination, tokens, writing
from batten.sinks.kafka.failures import translated
from batten.sinks.kafka.messages import Message
from batten.sinks.kafka.tokens import ENDING
from batten.testing.kills import kill_at_line

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

CUTS = [Mishap.CUT_BEFORE, Mishap.CUT_AFTER]
HANGS = [Mishap.HANG_BEFORE, Mishap.HANG_AFTER]
POINTS = [
    *((Asked.PRODUCE, number) for number in range(4)),
    *((Asked.END_TXN, number) for number in range(3)),
    *((Asked.ADD_PARTITIONS_TO_TXN, number) for number in range(3)),
    *((Asked.LIST_OFFSETS, number) for number in range(4)),
    *((Asked.METADATA, number) for number in range(4)),
    *((Asked.FETCH, number) for number in range(3)),
    *((each, 0) for each in (Asked.INIT_PRODUCER_ID, Asked.FIND_COORDINATOR)),
    *((each, 0) for each in (Asked.CREATE_TOPICS, Asked.DESCRIBE_CONFIGS)),
]


@pytest.mark.parametrize("sample", [1, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("failure", CUTS + HANGS, ids=lambda each: each.name)
def test_a_connection_fails_at_any_request(
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
        relay.fail(nth(request, number), failure)
        # It ends well by itself, or says that it can't.
        with suppress(StorageError):
            run(job(relay, own, folder, timeout_seconds=seconds))
        relay.fail(None, failure)
        run(job(relay, own, folder))
        check_all(broker, own)


_E = KafkaError
ANSWERS: dict[Asked, Sequence[int]] = {
    Asked.PRODUCE: [
        *(_E.NOT_LEADER_FOR_PARTITION, _E.UNKNOWN, _E.INVALID_MSG, _E.TOPIC_AUTHORIZATION_FAILED),
        *(_E.OUT_OF_ORDER_SEQUENCE_NUMBER, _E.UNKNOWN_PRODUCER_ID, _E.INVALID_PRODUCER_EPOCH),
        *(_E.NOT_ENOUGH_REPLICAS_AFTER_APPEND, _E.KAFKA_STORAGE_ERROR, _E.REQUEST_TIMED_OUT),
    ],
    Asked.ADD_PARTITIONS_TO_TXN: [
        *(_E.CONCURRENT_TRANSACTIONS, _E.NOT_COORDINATOR, _E.UNKNOWN_TOPIC_OR_PART),
        *(_E.TOPIC_AUTHORIZATION_FAILED, _E.INVALID_PRODUCER_EPOCH),
    ],
    Asked.LIST_OFFSETS: [_E.NOT_LEADER_FOR_PARTITION, _E.UNKNOWN],
    Asked.METADATA: [
        *(_E.LEADER_NOT_AVAILABLE, _E.UNKNOWN_TOPIC_OR_PART, _E.TOPIC_AUTHORIZATION_FAILED),
    ],
}
OF_BROKER = (StorageError, RefusedError, BusyError, InconsistentError)


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_broker_answers_with_an_error(
    is_begun: bool,
    sample: int | None,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    """It may have done what it was asked for all the same. A message that comes again is no row
    more, and a topic that a broker has not heard of yet is not taken for one that is gone."""
    points = [
        (request, code, ending)
        for request, codes in ANSWERS.items()
        for code in codes
        for ending in ("", ENDING)
    ]
    for request, code, ending in seeded.sample(points, sample) if sample else points:
        own, folder = own_place(topic, tmp_path, request.name, code, len(ending))
        broker.make(own)
        broker.make(own + ENDING, cleanup_policy="compact")
        if is_begun:
            run(job(relay, own, folder), limit=BATCH)
        relay.answer(request, own + ending, code)
        with suppress(*OF_BROKER):
            run(job(relay, own, folder, timeout_seconds=5))
        assert relay.has_answered, own
        run(job(relay, own, folder))
        check_all(broker, own)


@pytest.mark.parametrize("failure", CUTS, ids=lambda each: each.name)
@pytest.mark.parametrize("request_kind", [Asked.PRODUCE, Asked.END_TXN])
def test_the_broker_ends_within_a_transaction_and_comes_back(
    request_kind: Asked, failure: Mishap, own_broker: Broker, topic: str, tmp_path: Path
) -> None:
    def restart() -> None:
        own_broker.end()
        own_broker.start()

    with BrokerRelay(own_broker.port) as relay:
        relay.fail(nth(request_kind, 2), failure, restart)
        with suppress(StorageError):
            run(job(relay, topic, tmp_path, timeout_seconds=5))
        run(job(relay, topic, tmp_path))
    check_all(own_broker, topic)


class OldBroker(BrokerRelay):
    """The broker does not say that it can do transactions."""

    lacks: tuple[Asked, ...] = (Asked.INIT_PRODUCER_ID,)

    def _alter(self, answer: bytes, pair: Any) -> bytes:
        if re.search(rb"\x00\x12\x00\x00\x00", answer):
            for each in self.lacks:
                told = rb"\x00\x%02x(\x00\x00\x00[\x00-\x0f])" % each
                answer = re.sub(told, lambda found: b"\x75\x30" + found[1], answer)
        return super()._alter(answer, pair)


class OlderBroker(OldBroker):
    """Nor that it tells the settings of topics."""

    lacks = (Asked.INIT_PRODUCER_ID, Asked.DESCRIBE_CONFIGS)


@pytest.mark.parametrize("kind", [OldBroker, OlderBroker])
def test_a_broker_without_transactions_is_refused_unless_it_is_asked_for(
    kind: type[OldBroker], own_broker: Broker, topic: str, tmp_path: Path
) -> None:
    with kind(own_broker.port) as old:
        told = see_failure(RefusedError, "can't do transactions", job(old, topic, tmp_path))
        assert "transactions=False" in told.next
        run(job(old, topic, tmp_path, transactions=False))
    check_all(own_broker, topic)


@pytest.mark.parametrize("sends_tokens", [False, True])
def test_a_transaction_that_was_given_up_meanwhile_is_no_refusal(
    sends_tokens: bool, broker: Broker, topic: str
) -> None:
    """After a time without an answer the client ends it by itself, between any two steps."""
    broker.make(topic)
    known = cluster.Cluster(broker.servers, {}, 20)
    writer = writing.Writer(known, topic, bytes_max=0, target=topic)
    row = Message(item=0, partition=0, key=b"k", value=b"v", headers=[], size=2)

    def go_on() -> None:
        with translated("Publishing to", topic, {}):
            if sends_tokens:
                writer.send_tokens(topic, [(b"k", b"v")])
            else:
                writer.send(topic, [row])

    writer.begin()
    assert writer.abort()
    with pytest.raises(StorageError, match="given up meanwhile"):
        go_on()
    writer.close()
    assert broker.read(topic) == []


def test_the_first_message_that_was_not_taken_says_why(broker: Broker, topic: str) -> None:
    """Of those that come after it the client says that it can send no more."""
    broker.make(topic, cleanup_policy="compact")
    known = cluster.Cluster(broker.servers, {}, 20)
    writer = writing.Writer(known, topic, bytes_max=0, target=topic)
    row = Message(item=0, partition=0, key=None, value=b"v", headers=[], size=2)

    def give() -> Iterator[Message]:
        yield row
        writer._producer.flush(20)
        yield row

    writer.begin()
    with pytest.raises(RefusedError, match="INVALID_RECORD"), translated("To", topic, {}):
        writer.send(topic, give())
    assert writer.abort()
    writer.close()


@pytest.mark.parametrize("sends_tokens", [False, True])
def test_a_process_that_was_fenced_off_is_told_as_that_at_any_step(
    sends_tokens: bool, broker: Broker, topic: str
) -> None:
    """The client learns of it between any two messages, and says of the next a word of its own."""
    broker.make(topic)
    known = cluster.Cluster(broker.servers, {}, 20)
    row = Message(item=0, partition=0, key=b"k", value=b"v", headers=[], size=2)
    older = writing.Writer(known, topic, bytes_max=0, target=topic)
    newer = writing.Writer(known, topic, bytes_max=0, target=topic)
    older.begin()
    with pytest.raises(BusyError), translated("Publishing to", topic, {}):
        older.send(topic, [row])
    send = (
        partial(older.send_tokens, topic, [(b"k", b"v")])
        if sends_tokens
        else partial(older.send, topic, [row])
    )
    with pytest.raises(BusyError, match="has taken over"), translated("Publishing to", topic, {}):
        send()
    older.close()
    newer.close()


def test_a_broker_that_hangs_is_told_in_time(
    own_broker: Broker, topic: str, tmp_path: Path
) -> None:
    with BrokerRelay(own_broker.port) as relay:
        relay.fail(nth(Asked.END_TXN, 1), Mishap.HANG_BEFORE, own_broker.pause)
        see_failure(StorageError, f"topic {topic}", job(relay, topic, tmp_path, timeout_seconds=2))
        own_broker.go_on()
        run(job(relay, topic, tmp_path))
    check_all(own_broker, topic)


def test_a_broker_that_has_lost_what_it_confirmed_is_told(
    own_broker: Broker, topic: str, tmp_path: Path
) -> None:
    pipeline = job(own_broker, topic, tmp_path)
    run(pipeline)
    own_broker.delete([topic + ENDING])
    see_failure(InconsistentError, "has it no more", pipeline)
    own_broker.delete([topic])
    see_failure(InconsistentError, "has it no more", pipeline)


SAMPLE = 4
LINES = 1500
"""A run begins to publish at about the 300th, on a busy machine at the 700th: it waits in loops.
Each batch takes less than 200."""


@pytest.mark.parametrize("kills", [SAMPLE, pytest.param(300, marks=pytest.mark.crash)])
def test_a_driver_that_is_killed_again_and_again(
    kills: int, broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    """Who reads all the while sees each row once, batches whole, in the order of the plan."""
    batches = 5 * kills
    broker.make(topic)
    pipeline = job(broker, topic, tmp_path, items=batches * BATCH)
    files = [inspect.getfile(each) for each in (cluster, destination, sending, tokens, writing)]
    with watching(broker.servers) as watcher:
        watcher.watch(topic, [[BATCH * each + n for n in range(BATCH)] for each in range(batches)])
        killed = sum(
            kill_at_line(lambda: run(pipeline), files, seeded.randrange(1, LINES))
            for _ in range(kills)
        )
        assert killed
        if kills > SAMPLE:
            # They came before, within and after transactions.
            begun, committed = broker.read(topic, is_committed=False), broker.read(topic)
            assert 0 < len(committed) < min(len(begun), batches * BATCH)
        run(pipeline)
        check_all(broker, topic, batches * BATCH)
        assert watcher.ask() > 1
