"""A broker that is killed at once, between and within transactions, and brought back on its data.

What the broker of the tests confirmed within the last second may be gone then. So it is first ended
in good order: that keeps what it has, and what comes after is what a kill can cost.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.kafka import landing
from tests.kafka.rows import BATCH, check_all, job, list_keys, own_place, run, see_failure
from tests.kafka.watching import watching

from batten.crashlab.servers.broker_relay import Asked, BrokerRelay, nth
from batten.crashlab.servers.relay import Mishap
from batten.errors import InconsistentError, StorageError
from batten.sinks.kafka.tokens import ENDING

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

SECONDS = 5.0
SAMPLES = [1, pytest.param(None, marks=pytest.mark.crash)]
Moment = tuple[Asked, int]
BEFORE_ROWS_ARE_THERE: list[Moment] = [
    *((Asked.INIT_PRODUCER_ID, 0), (Asked.ADD_PARTITIONS_TO_TXN, 0), (Asked.PRODUCE, 0)),
    *((Asked.METADATA, 5), (Asked.LIST_OFFSETS, 0), (Asked.LIST_OFFSETS, 4), (Asked.FETCH, 0)),
]
"""A run asks so before the broker has confirmed a row to it."""
WITH_ROWS: list[Moment] = [
    *((Asked.ADD_PARTITIONS_TO_TXN, 1), (Asked.PRODUCE, 1), (Asked.END_TXN, 0)),
    *((Asked.FETCH, 2), (Asked.PRODUCE, 2), (Asked.END_TXN, 1)),
]
READING: list[Moment] = [
    *((Asked.LIST_OFFSETS, 1), (Asked.METADATA, 1), (Asked.FETCH, 0), (Asked.FETCH, 1)),
]


def save(broker: Broker) -> None:
    broker.end()
    broker.start()


def kill_at(relay: BrokerRelay, broker: Broker, moment: Moment, failure: Mishap) -> None:
    """The broker is killed before or after it gets this request, and comes back."""

    def kill() -> None:
        broker.crash()
        broker.start()

    relay.fail(nth(*moment), failure, kill)


def choose(
    moments: Sequence[Moment], sample: int | None, seeded: random.Random
) -> list[tuple[str, Moment, Mishap]]:
    """With a name for each."""
    failures = (Mishap.CUT_BEFORE, Mishap.CUT_AFTER)
    points = [
        (f"{moment[0].name}-{moment[1]}-{failure.name}", moment, failure)
        for moment in moments
        for failure in failures
    ]
    return seeded.sample(points, sample) if sample else points


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_run_goes_on_where_nothing_that_was_confirmed_is_lost(
    sample: int | None, own_broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    """Who reads all the while sees each row once, as far as there is a broker to read from."""
    batches = [[BATCH * batch + n for n in range(BATCH)] for batch in range(3)]
    with watching(own_broker.servers) as watcher:
        for name, moment, failure in choose(BEFORE_ROWS_ARE_THERE, sample, seeded):
            own, folder = f"{topic}-{name}", tmp_path / name
            folder.mkdir()
            with BrokerRelay(own_broker.port) as relay:
                run(job(relay, own, folder), limit=BATCH)
                save(own_broker)
                watcher.watch(own, batches)
                kill_at(relay, own_broker, moment, failure)
                with suppress(StorageError):
                    run(job(relay, own, folder, timeout_seconds=SECONDS))
                run(job(relay, own, folder))
            assert watcher.ask(), name
            check_all(own_broker, own)


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_row_is_there_twice_whatever_the_broker_lost(
    sample: int | None, own_broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    """That all are there can't be asked of this broker: it confirms the end of transactions of
    which it has forgotten the rows, or does not end one that it has forgotten."""
    for name, moment, failure in choose(WITH_ROWS, sample, seeded):
        own, folder = own_place(topic, tmp_path, name)
        with BrokerRelay(own_broker.port) as relay:
            run(job(relay, own, folder), limit=BATCH)
            save(own_broker)
            kill_at(relay, own_broker, moment, failure)
            for _ in range(2):
                with suppress(StorageError, InconsistentError):
                    run(job(relay, own, folder, timeout_seconds=SECONDS))
        keys = list_keys(own_broker, own)
        batches = sorted({key // BATCH for key in keys})
        assert keys == [BATCH * batch + n for batch in batches for n in range(BATCH)], name
        assert batches[0] == 0, name


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_topic_is_read_on(
    sample: int | None, own_broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    for name, moment, failure in choose(READING, sample, seeded):
        own, folder = own_place(topic, tmp_path, name)
        landing.fill(own_broker, own)
        save(own_broker)
        with BrokerRelay(own_broker.port) as relay:
            given: dict[str, Any] = {"servers": relay.servers, "timeout_seconds": SECONDS}
            pipeline = landing.job(own_broker, own, folder, **given)
            kill_at(relay, own_broker, moment, failure)
            with suppress(StorageError):
                run(pipeline)
            run(pipeline)
        assert sorted(landing.values(folder)) == list("1234"), name


def test_a_transaction_that_does_not_end_is_named(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """A broker may have forgotten whose it is, so that nobody ends it."""
    run(job(broker, topic, tmp_path))
    other = landing.begin(broker, topic)
    other.produce(topic + ENDING, b"{}", b"of another", 0)
    other.flush(30)
    see_failure(
        StorageError,
        f"a transaction in {topic}{ENDING} has not ended",
        job(broker, topic, tmp_path, timeout_seconds=1),
    )
    other.abort_transaction(30)
    run(job(broker, topic, tmp_path))
    check_all(broker, topic)
