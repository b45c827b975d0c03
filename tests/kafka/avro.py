"""Jobs whose rows go to a topic as values of Avro, and two who read them."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import fastavro
from tests.kafka import rows
from tests.kafka.registry import Registry

from batten.kafka.schema_topic import ENDING

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

job = partial(rows.job, items=6, batch_size=2, format="avro")


def add(number: int) -> dict[str, int]:
    return {"double": 2 * number, "triple": 3 * number}


def read_without_registry(broker: Broker, topic: str) -> list[Any]:
    """As the guide says it."""
    schemas = {
        each.key(): fastavro.parse_schema(json.loads(each.value()))
        for each in broker.read(topic + ENDING)
    }

    def decode(value: bytes) -> Any:
        assert value[:2] == b"\xc3\x01"
        return fastavro.schemaless_reader(io.BytesIO(value[10:]), schemas[value[2:10]], None)

    return [decode(each.value()) for each in broker.read(topic)]


def read_with_confluent(broker: Broker, topic: str, registry: Registry) -> list[Any]:
    """By the deserializer that others read with."""
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    decode = AvroDeserializer(SchemaRegistryClient({"url": registry.address}))
    context = SerializationContext(topic, MessageField.VALUE)
    return [decode(each.value(), context) for each in broker.read(topic)]
