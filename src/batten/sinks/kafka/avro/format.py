"""Values of Avro: each is a row, after bytes that say which schema it has.

With a schema registry these are a zero and the schema's id there, as Confluent's clients write and
read them. Without one they are those of Avro's own single objects, and name a fingerprint. Then the
schema lies in a topic beside that of the rows (decision 0147).
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from batten.errors import refused_there
from batten.kafka.registry import Registry
from batten.kafka.schema_topic import write_schema
from batten.model.value_class import value_class
from batten.optional import import_optional
from batten.sinks.kafka.avro.rows import list_rows
from batten.sinks.kafka.avro.schemas import UnfitColumnError, make_schema
from batten.sinks.kafka.failures import PUBLISHER
from batten.sinks.rows.rejecting import UnstorableError, tell_reason

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.kafka.cluster import Cluster
    from batten.sinks.kafka.topic import KafkaTopic

LIBRARY = "fastavro"
USE = '.write_kafka(format="avro")'
NAME = "batten.Row"
_OF_REGISTRY = b"\0"
_SINGLE_OBJECT = b"\xc3\x01"
_REASON_MAX = 200
_ERRORS = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What the library raises for a value that the schema does not allow."""


@value_class
class _Announced:
    """A schema that readers can find."""

    schema: pa.Schema
    parsed: Any
    beginning: bytes


class AvroValues:
    """See `ValueEncoder`."""

    def __init__(self, sink: KafkaTopic, cluster: Cluster) -> None:
        self._sink, self._cluster = sink, cluster
        self._library = import_optional(LIBRARY, USE)
        self._registry: Registry | None = None
        if sink.schema_registry:
            self._registry = Registry(sink.schema_registry, sink.timeout_seconds, PUBLISHER)
        self._announced: _Announced | None = None

    def prepare(self, schema: pa.Schema) -> None:
        if self._announced is not None and self._announced.schema.equals(schema):
            return
        topic = self._sink.topic
        try:
            made = make_schema(schema, NAME)
        except UnfitColumnError as error:
            raise refused_there(
                f"Rows can't be written to topic {topic} as Avro: {error}.",
                f'{error.remedy}, or write with format="json".',
            ) from error
        if self._registry is not None:
            number = self._registry.register(f"{topic}-value", json.dumps(made))
            beginning = _OF_REGISTRY + number.to_bytes(4, "big")
        else:
            made["name"] = name_by_content(made)
            mark = self._find_fingerprint(made)
            write_schema(self._cluster, topic, mark, json.dumps(made))
            beginning = _SINGLE_OBJECT + mark
        parsed = self._library.parse_schema(made)
        self._announced = _Announced(schema=schema, parsed=parsed, beginning=beginning)

    def encode(self, rows: pa.RecordBatch) -> list[bytes | UnstorableError]:
        announced = self._announced
        if announced is None:
            raise RuntimeError("no schema was announced")
        return [self._encode_row(row, announced) for row in list_rows(rows)]

    def _encode_row(self, row: dict[str, Any], announced: _Announced) -> bytes | UnstorableError:
        buffer = io.BytesIO()
        buffer.write(announced.beginning)
        try:
            self._library.schemaless_writer(
                buffer, announced.parsed, row, strict=True, disable_tuple_notation=True
            )
        except _ERRORS as error:
            reason = tell_reason(error)[:_REASON_MAX]
            return UnstorableError(f"Avro can't hold it: {reason}")
        return buffer.getvalue()

    def _find_fingerprint(self, schema: dict[str, Any]) -> bytes:
        found = self._library.schema
        canonical = found.to_parsing_canonical_form(schema)
        return bytes.fromhex(found.fingerprint(canonical, "CRC-64-AVRO"))


def name_by_content(schema: dict[str, Any]) -> str:
    """A name of its own for each schema. A fingerprint leaves out what numbers stand for, such as
    the scale of a decimal, so that two schemas of one name could have the same."""
    digest = hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()
    return f"{NAME}_{digest[:16]}"
