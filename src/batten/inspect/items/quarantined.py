"""The quarantined items of an output, with their errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batten.errors import StorageError
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.files.quarantine_file import Quarantined, read_quarantine


def list_quarantined_batches(observation: Observation) -> list[int]:
    """Published ones only: without its part, a quarantine file is of a try that a crash ended."""
    return sorted(observation.quarantine.keys() & observation.parts.keys())


def read_quarantined(
    place: Place,
    observation: Observation,
    unreadable: list[str],
    batches: Iterable[int] | None = None,
) -> Iterator[Quarantined]:
    """Of these batches, or of all that `list_quarantined_batches` gives. The names of files that
    can't be read go to `unreadable`."""
    chosen = list_quarantined_batches(observation) if batches is None else list(batches)
    if not chosen:
        return
    import pyarrow as pa

    for batch in chosen:
        claim = observation.claims.get(batch)
        name = place.layout.quarantined(batch, (claim.digest or "") if claim is not None else "")
        try:
            found = read_quarantine(place.storage, name, batch)
        except (StorageError, OSError, ValueError, TypeError, KeyError, pa.ArrowException):
            unreadable.append(place.show(name))
        else:
            yield from found
