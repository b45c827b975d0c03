"""Jobs whose rows go to a topic, and what the topic has then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.errors import BattenError
from batten.inspect.verifying.verify import Verification, verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker
    from batten.crashlab.servers.broker_relay import BrokerRelay

ITEMS, BATCH = 12, 4


def double(number: int) -> dict[str, int]:
    return {"double": 2 * number}


def job(
    broker: Broker | BrokerRelay,
    topic: str,
    folder: Path,
    make: Callable[..., Any] = double,
    *,
    items: int = ITEMS,
    batch_size: int = BATCH,
    schema: Any = None,
    **options: Any,
) -> Pipeline:
    made = batten.from_range(items).map(make, version="1")
    made = made.options(batch_size=batch_size, schema=schema)
    written = made.write_kafka(topic, **{"servers": broker.servers, **options})
    return replace(written, output=folder / "out")


def run(pipeline: Pipeline, **options: Any) -> Any:
    return pipeline.run(executor="serial", **options)


def see_failure(
    kind: type[BattenError], match: str, pipeline: Pipeline, **options: Any
) -> BattenError:
    """The run ends with such an error."""
    with pytest.raises(kind, match=match) as told:
        run(pipeline, **options)
    return told.value


def list_keys(broker: Broker, topic: str) -> list[Any]:
    return [row["key"] for row in broker.read_rows(topic)]


def check_all(broker: Broker, topic: str, items: int = ITEMS) -> None:
    """Each row is there once, in the order of the plan."""
    rows = [{"key": number, "double": 2 * number} for number in range(items)]
    assert broker.read_rows(topic) == rows


def ask_topic(folder: Path) -> Verification:
    return verify(folder / "out", should_ask=True)


def own_place(topic: str, folder: Path, *names: object) -> tuple[str, Path]:
    """A topic and a folder of one case of a test."""
    name = "-".join(map(str, names))
    own = folder / name
    own.mkdir()
    return f"{topic}-{name}", own
