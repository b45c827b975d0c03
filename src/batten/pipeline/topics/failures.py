"""What it means where a broker fails while a topic is read: nothing is given to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from batten.kafka.client_errors import Asker, translated
from batten.sinks.failures import refused, unreached

if TYPE_CHECKING:
    from batten.pipeline.topics.landing import TopicPlace

_SAFE = "What was landed stays. The topic keeps the rest, as long as its retention lasts."

READER = Asker(
    unreached=partial(unreached, safe=_SAFE),
    refused=partial(refused, safe=_SAFE, remedy="Correct the topic, the servers or config=…"),
)


def reading(place: TopicPlace) -> AbstractContextManager[None]:
    """Raises batten's errors for the client's. The place has its secrets in it: their values are
    taken out."""
    return translated("Reading", place.name, place.config, READER)
