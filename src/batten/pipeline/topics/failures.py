"""What it means where a broker fails while a topic is read: nothing is given to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from batten.kafka.client_errors import Asker, translated
from batten.sinks.failures import refused, unreached

_SAFE = "What was landed stays. The topic keeps the rest, as long as its retention lasts."

READER = Asker(
    unreached=partial(unreached, safe=_SAFE),
    refused=partial(refused, safe=_SAFE, remedy="Correct the topic, the servers or config=…"),
)


def reading(topic: str, hidden: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Raises batten's errors for the client's; `hidden` are settings whose values are taken out."""
    return translated("Reading", topic, hidden, READER)
