"""Whether the tables that an output was made of have changed: then it is STALE.

It compares size and time, and reads a table only where these tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from batten.inspect.advising.upstream import Behind
from batten.ledger.facts.observation import Observation
from batten.ledger.history.runs import LoggedTable, find_last_log
from batten.model.disk.destinations.delivery import find_kept
from batten.model.disk.fingerprints import DIGEST_PREFIX, find_tables
from batten.model.rules.findings import ELSEWHERE
from batten.model.telling.commands import as_path
from batten.model.value_class import value_class
from batten.storage.base import Store


@value_class
class TablesSeen:
    """Paths of tables, by what became of them since the output was made. `unknown` are sentences of
    those of which nobody can tell."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    kept: str = ""

    @property
    def behind(self) -> Behind | None:
        """None if none has changed or gone."""
        if self.gone:
            path = self.gone[0]
            return Behind(
                reason=f"the input {path} is gone since this was made",
                first=f"bring back {as_path(path)}",
                is_gone=True,
            )
        if not self.changed:
            return None
        reason = f"the input {self.changed[0]} was changed since this was made"
        if self.kept:
            told = f"{reason}; {self.kept} keeps its rows, and refuses --fresh"
            return Behind(reason=told, first=ELSEWHERE)
        return Behind(reason=reason, options=("--fresh",))


def look_at_tables(storage: Store, observation: Observation, *, is_brief: bool) -> TablesSeen:
    """Those that were recorded. With `is_brief` nothing is read, and only another size tells."""
    config = observation.config
    recorded = find_tables(config.fingerprint) if config is not None else {}
    last = find_last_log(storage, observation.layout) if recorded else None
    if last is None:
        return TablesSeen()
    changed, gone, unknown = [], [], []
    tables = last.tables
    for name, digest in recorded.items():
        if name not in tables:
            continue
        path = tables[name].path
        try:
            found = _find_digest(tables[name], digest, is_brief=is_brief)
        except FileNotFoundError:
            gone.append(path)
        except OSError as error:
            unknown.append(f"the input {path} can't be looked at: {error.strerror}")
        else:
            if found is None:
                unknown.append(
                    f"the input {path} may have changed since this was made: its time has"
                )
            elif found != digest:
                changed.append(path)
    return TablesSeen(
        changed=tuple(changed),
        gone=tuple(gone),
        unknown=tuple(unknown),
        kept=find_kept(observation.deliveries),
    )


def _find_digest(table: LoggedTable, recorded: str, *, is_brief: bool) -> str | None:
    """None where only reading could tell, and nothing is read."""
    from pathlib import Path

    from batten.sources.whole_tables import find_facts, take_digest

    path = Path(table.path)
    found, logged = find_facts(path), DIGEST_PREFIX + table.digest
    if found == table.files:
        return logged
    if _add_sizes(found) != _add_sizes(table.files) and logged == recorded:
        return ""
    return None if is_brief else DIGEST_PREFIX + take_digest(path).digest


def _add_sizes(files: Sequence[Sequence[int]]) -> int:
    return sum(size for size, _ in files)
