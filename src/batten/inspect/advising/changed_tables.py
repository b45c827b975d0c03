"""Whether the tables that an output was made of have changed.

It compares size and time, and reads a table only where these tell nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from batten.ledger.facts.observation import Observation
from batten.ledger.runs import LoggedTable, find_last_log
from batten.model.disk.fingerprints import DIGEST_PREFIX, find_tables
from batten.model.disk.records import find_kept
from batten.storage.base import Store

if TYPE_CHECKING:
    from pathlib import Path


def list_changes(storage: Store, observation: Observation, *, is_brief: bool) -> Iterator[str]:
    """A sentence for each table that has changed since the fingerprint, or is gone. With `is_brief`
    nothing is read, so there is one for each table that may have changed."""
    config = observation.config
    recorded = find_tables(config.fingerprint) if config is not None else {}
    last = find_last_log(storage, observation.layout) if recorded else None
    kept = find_kept(observation.deliveries)
    way = f"{kept} keeps its rows, and refuses --fresh" if kept else "--fresh makes it anew"
    if last is not None:
        tables = last.tables
        for name, digest in recorded.items():
            if name in tables:
                yield from _compare(tables[name], digest, way, is_brief=is_brief)


def _compare(table: LoggedTable, recorded: str, way: str, *, is_brief: bool) -> Iterator[str]:
    from pathlib import Path

    path = Path(table.path)
    try:
        digest = _find_digest(path, table, recorded, is_brief=is_brief)
    except OSError as error:
        yield f"the input {path} can't be looked at: {error.strerror}"
        return
    if digest is None:
        yield f"the input {path} may have changed since this was made: its time has"
    elif digest != recorded:
        yield f"the input {path} was changed since this was made; {way}"


def _find_digest(path: Path, table: LoggedTable, recorded: str, *, is_brief: bool) -> str | None:
    """None where only reading could tell, and nothing is read."""
    from batten.sources.whole_tables import find_facts, take_digest

    found, logged = find_facts(path), DIGEST_PREFIX + table.digest
    if found == table.files:
        return logged
    if _add_sizes(found) != _add_sizes(table.files) and logged == recorded:
        return ""
    return None if is_brief else DIGEST_PREFIX + take_digest(path).digest


def _add_sizes(files: Sequence[Sequence[int]]) -> int:
    return sum(size for size, _ in files)
