"""Batches as a run stages them, made by hand, to try destinations with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from batten.model.disk.destinations.tokens import Token
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import PartDescription
from batten.model.words import Outcome
from batten.sinks.base import Staged
from batten.sinks.parquet import encode_part

SCHEMA = pa.schema([pa.field("key", pa.int64(), nullable=False), ("name", pa.string())])

Row = dict[str, Any]


def stage_batch(
    batch: int,
    items: Sequence[int],
    *,
    failed: Sequence[int] = (),
    schema: pa.Schema = SCHEMA,
    rows: Sequence[Row] | None = None,
    digest: str = "",
    fingerprint: str = "f",
) -> Staged:
    """Make a batch as a run stages it.

    Args:
        batch: The number of the batch.
        items: The numbers of its items.
        failed: Which of these failed; by default none.
        schema: The columns; by default `SCHEMA`.
        rows: The rows; by default one for each item that did not fail.
        digest: Stands for the content in the token; by default one that differs with batch and
            outcomes.
        fingerprint: Stands for the job in the token; "f" by default.

    Returns:
        The batch, to be published.
    """
    kept = [item for item in items if item not in failed]
    values = rows if rows is not None else [{"key": n, "name": f"n{n}"} for n in kept]
    table = pa.Table.from_pylist(list(values), schema=schema)
    outcomes = encode_outcomes(
        Outcome.QUARANTINED if item in failed else Outcome.COMMITTED for item in items
    )
    description = PartDescription(
        batch=batch,
        items=len(items),
        rows=len(table),
        outcomes=outcomes,
        keys="",
        fingerprint=fingerprint,
    )
    return Staged(
        token=Token(
            dataset="rows",
            batch=batch,
            digest=digest or f"d{batch}-{outcomes}",
            fingerprint=fingerprint,
        ),
        schema=schema,
        batches=batch + 1,
        rows=len(table),
        outcomes=outcomes,
        read=lambda: iter(table.to_batches()),
        load=lambda: encode_part(table, description).to_pybytes(),
    )
