"""The one commit of a batch to an Iceberg table: its file, what makes way for it, and its token.

The token is a property of the table, which outlives the snapshots.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batten.model.disk.destinations.tokens import Token, TokenState
from batten.sinks.base import Staged
from batten.sinks.lakes.by_key import Displaced, list_groups
from batten.sinks.rows.replacing import tell_others
from batten.sinks.rows.revisions import is_open

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table

_RETRIES = "commit.retry.num-retries"


def commit_batch(
    table: Table,
    staged: Staged,
    location: str | None,
    displaced: Sequence[Displaced],
    *,
    is_emptied: bool,
) -> None:
    """Add the file at `location`, if there is one, without the rows that make way: those that are
    displaced, or all. The library writes the files anew that held such rows. Raises what the
    library raises."""
    from pyiceberg.expressions import AlwaysTrue

    token = staged.token
    told = {"batten.dataset": token.dataset, "batten.batch": str(token.batch)}
    # This holds for this copy only: what is committed does not say it.
    table.metadata.properties[_RETRIES] = "0"
    transaction = table.transaction()
    transaction.set_properties(_list_properties(table, staged))
    with warnings.catch_warnings():
        # It warns where no row makes way, which is no fault.
        warnings.simplefilter("ignore")
        matches = [AlwaysTrue()] if is_emptied else map(_match, displaced)
        for match in matches:
            transaction.delete(match, snapshot_properties=told)
    if location is not None:
        transaction.add_files([location], snapshot_properties=told, check_duplicate_files=False)
    else:
        # It makes a snapshot all the same: the commit must fail if another was made meanwhile.
        with transaction.update_snapshot(snapshot_properties=told).fast_append():
            pass
    transaction.commit_transaction()


def _match(displaced: Displaced) -> BooleanExpression:
    from pyiceberg import expressions

    # Its constructors take plain values; their types say otherwise.
    made: Any = expressions
    groups = []
    for common, widest, values in list_groups(displaced.keys):
        group = made.In(widest, values)
        for name, value in common.items():
            group = made.And(group, made.EqualTo(name, value))
        groups.append(group)
    matched: BooleanExpression = groups[0] if len(groups) == 1 else made.Or(*groups)
    return matched


def look_at(properties: Mapping[str, str], token: Token) -> TokenState:
    """What the table has of the token."""
    found = properties.get(_name_of(token))
    if found is None:
        return TokenState.ABSENT
    return TokenState.SAME if found == token.digest else TokenState.OTHER


def find_others(table: Table, token: Token) -> str:
    """What it holds that the dataset of the token did not put there, in words; empty for none."""
    snapshot, other, has_own = table.current_snapshot(), "", False
    for name in table.properties:
        dataset, _, batch = name.removeprefix("batten.").rpartition(".")
        if name.startswith("batten.") and batch.isdecimal():
            has_own = has_own or dataset == token.dataset
            other = other if dataset == token.dataset else dataset
    summary = snapshot.summary if snapshot is not None else None
    is_empty = summary is None or summary.get("total-records") == "0"
    return tell_others(other, is_empty=has_own or is_empty)


def find_outcomes(properties: Mapping[str, str], token: Token) -> str:
    """Those that are kept of the batch as it is there; empty if none are."""
    return properties.get(_name_of_outcomes(token), "")


def _name_of(token: Token) -> str:
    return f"batten.{token.dataset}.{token.batch or 0:06}"


def _name_of_outcomes(token: Token) -> str:
    return f"{_name_of(token)}.outcomes"


def _list_properties(table: Table, staged: Staged) -> dict[str, str]:
    """The token; and the outcomes, where there may be a later version, or was an earlier one."""
    kept = _name_of_outcomes(staged.token)
    made = {_name_of(token): token.digest for token in staged.tokens}
    if is_open(staged) or kept in table.properties:
        made[kept] = staged.outcomes
    return made
