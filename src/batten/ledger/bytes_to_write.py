"""How much the next run will write, reckoned by what lies there. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from batten.ledger.facts.observation import Observation
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.fingerprints import find_tables
from batten.model.rules.accounting import Accounts
from batten.model.telling.sizes import estimate_bytes
from batten.model.words import FILES


def estimate_bytes_to_write(
    observation: Observation, accounts: Accounts, files: Iterable[str], *, is_anew: bool = False
) -> int | None:
    """About how many bytes the run will write: the parts of all pending items, with `is_anew` of
    all items; and each of the `files` that is not up to date, whole, since the old file stays until
    then. None if nothing tells: no item is published, or the function of a whole table has not
    made its file yet."""
    done = accounts.committed + accounts.filtered + accounts.quarantined
    every = done + accounts.pending
    to_do = every if is_anew else accounts.pending
    config = observation.config
    is_of_tables = config is not None and bool(find_tables(config.fingerprint))
    sizes = [sum(observation.parts.values())]
    sizes += [each.size for each in observation.deliveries if each.kind == FILES]
    if to_do and not done and not is_of_tables:
        return None
    needed = 0 if is_of_tables else estimate_bytes(sizes, done, to_do)
    for target in files:
        record = find_record(observation, target)
        if not to_do and record is not None and _is_up_to_date(observation, record):
            continue
        if is_of_tables and record is None:
            return None
        known = sizes if record is None else [record.size]
        needed += sum(known) if is_of_tables else estimate_bytes(known, done, every)
    return needed


def find_record(observation: Observation, target: str) -> Delivery | None:
    """What was recorded last of the file."""
    found = (each for each in observation.deliveries if each.is_file and each.target == target)
    return next(found, None)


def _is_up_to_date(observation: Observation, record: Delivery) -> bool:
    planned = sum(segment.batches for segment in observation.segments)
    is_in_place = observation.placed.get(record.target) == record.size
    return is_in_place and record.batches >= planned
