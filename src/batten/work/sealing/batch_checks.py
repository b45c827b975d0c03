"""Holds a batch back whose rows as a whole do not pass.

A rule of a batch tells nothing of one item: a mean that is off, a key that occurs twice. So no item
is quarantined; the job has failed, and its batch is not published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from batten.errors import FailedRunError
from batten.model.telling.counts import count_of
from batten.plan.plan import PlanBatch
from batten.rows.fitting import Unfit
from batten.storage.blame import find_machine_failure
from batten.work.calling.calls import describe_error
from batten.work.calling.results import refuse_failed

Rule = Callable[[pa.Table], Any]


class BatchRefusedError(FailedRunError):
    """A batch does not pass; nothing of it is published."""


def check_batch(rules: Sequence[Rule], batch: PlanBatch, table: pa.Table) -> None:
    """Raises `BatchRefusedError` if a rule says no to the rows of the batch, or raises."""
    if not table.num_rows:
        return
    for rule in rules:
        try:
            refuse_failed(rule, rule(table))
        except Unfit as error:
            raise _refuse(batch, table, str(error), "") from error
        except Exception as error:
            if (of_machine := find_machine_failure(error)) is not None:
                raise of_machine from error
            told, trace = describe_error(error)
            raise _refuse(batch, table, told, trace) from error


def _refuse(batch: PlanBatch, table: pa.Table, reason: str, trace: str) -> BatchRefusedError:
    rows = count_of(table.num_rows, "row")
    return BatchRefusedError(
        f"Batch {batch.number}, {rows}, is held back: {reason}.",
        safe="Nothing of it was published. Its finished items stay staged and are used again.",
        next="Mend the check and run the same command. Or mend what makes the rows, and add "
        "--accept-change.",
        trace=trace,
    )
