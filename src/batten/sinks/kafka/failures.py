"""What it means where a broker fails at a step of publishing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from batten.errors import BusyError
from batten.kafka import client_errors
from batten.kafka.client_errors import Asker, error_of, is_fenced
from batten.sinks.failures import refused, unreached

_REMEDY = "Correct the topic, or config=…, or write to another topic"
PUBLISHER = Asker(unreached=unreached, refused=partial(refused, remedy=_REMEDY))


@contextmanager
def translated(action: str, target: str, hidden: Mapping[str, Any]) -> Iterator[None]:
    """Raises batten's errors for the client's; `hidden` are settings whose values are taken out."""
    from confluent_kafka import KafkaException

    with client_errors.translated(action, target, hidden, PUBLISHER):
        try:
            yield
        except KafkaException as raised:
            if is_fenced(error_of(raised)):
                raise _was_fenced(target) from raised
            raise


def _was_fenced(target: str) -> BusyError:
    """Where another process publishes under the same name."""
    return BusyError(
        f"Another process publishes to {target} under the same name, and has taken over.",
        safe="Whatever this one had begun there is all there, or nothing of it is.",
        next="Let the other one end, then run the same command again. If it is another job, give "
        "this one another name: dataset=…. If there is no other, a transaction took longer than "
        "timeout_seconds=…: raise it, or make smaller batches.",
    )
