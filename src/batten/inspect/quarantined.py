"""The quarantined items of an output, with their errors."""

from __future__ import annotations

from collections.abc import Iterator

from batten.errors import StorageError
from batten.inspect.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.quarantine_file import Quarantined, read_quarantine


def read_quarantined(
    place: Place, observation: Observation, unreadable: list[str]
) -> Iterator[Quarantined]:
    """Those of published batches only: without its part, a quarantine file is of a try that a crash
    ended. The names of files that can't be read go to `unreadable`."""
    batches = sorted(observation.quarantine.keys() & observation.parts.keys())
    if not batches:
        return
    import pyarrow as pa

    for batch in batches:
        claim = observation.claims.get(batch)
        name = place.layout.quarantined(batch, (claim.digest or "") if claim is not None else "")
        try:
            found = read_quarantine(place.storage, name, batch)
        except (StorageError, OSError, ValueError, TypeError, KeyError, pa.ArrowException):
            unreadable.append(place.show(name))
        else:
            yield from found
