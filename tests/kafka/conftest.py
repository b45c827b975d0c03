"""A broker for all tests of this folder, and topics of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from tests.kafka.registry import Registry

from batten.crashlab.servers.broker import OTHER, Broker
from batten.crashlab.servers.broker_relay import BrokerRelay
from batten.kafka.schema_topic import ENDING as SCHEMAS
from batten.sinks.kafka.tokens import ENDING

_used: list[str] = []


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with Broker() as made:
        yield made
        if OTHER:
            made.delete([name + ending for name in _used for ending in ("", ENDING, SCHEMAS)])


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """One that may be ended."""
    if OTHER:
        pytest.skip("BATTEN_KAFKA names a broker, which tests don't end")
    with Broker() as made:
        yield made


@pytest.fixture
def relay(broker: Broker) -> Iterator[BrokerRelay]:
    """Stands before the broker, and fails as it is told to."""
    if OTHER:
        pytest.skip("BATTEN_KAFKA names a broker, which tells clients where it is itself")
    with BrokerRelay(broker.port) as made:
        yield made


@pytest.fixture
def topic() -> str:
    """The name of a topic that is not there yet."""
    _used.append(f"rows-{uuid.uuid4().hex[:8]}")
    return _used[-1]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as made:
        yield made
