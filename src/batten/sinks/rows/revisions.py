"""A batch of which a destination has an earlier version: what is to be added to that.

Items that had failed can be tried again, and then the batch is another one. What was committed
stays as it is. So a destination lacks the rows of items that were not committed before. To tell
which, it must have kept the outcomes that its rows belong to. Where items have changed or gone,
that tells nothing, unless no item was committed: then all rows are lacking. In a table with a key
all rows of the batch are replaced (decision 0090).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from batten.model.disk.outcomes import count_outcomes, decode_outcomes
from batten.model.words import Outcome
from batten.sinks.base import Staged, other_content

if TYPE_CHECKING:
    import pyarrow as pa


def is_open(staged: Staged) -> bool:
    """Whether there may be a later version: something failed, or a new dataset takes its name."""
    return not staged.rows or count_outcomes(staged.outcomes)[Outcome.QUARANTINED] > 0


def select_lacking(staged: Staged, outcomes: str, target: str) -> Staged:
    """Choose the rows of a batch that a destination lacks, after items were retried.

    Args:
        staged: The batch as it is now.
        outcomes: The outcomes under which the destination has it; empty if it kept none.
        target: The name of the destination, for messages.

    Returns:
        The batch with only those rows.

    Raises:
        InconsistentError: It is no later version of the batch that is there, or no outcomes were
            kept. Nothing was changed.
    """
    counts = count_outcomes(outcomes)
    is_new = staged.revision > 0 and not any(counts[each] for each in Outcome if each.has_rows)
    is_later = not staged.revision and _is_later(outcomes, staged.outcomes)
    if not outcomes or not (is_new or is_later):
        raise other_content(target, staged.token)

    def read() -> Iterator[pa.RecordBatch]:
        return _select_rows(staged.read(), outcomes, staged.outcomes)

    def load() -> bytes:
        import pyarrow as pa

        from batten.sinks.parquet import encode_rows

        encoded: bytes = encode_rows(pa.Table.from_batches(read(), staged.schema)).to_pybytes()
        return encoded

    return replace(staged, rows=sum(batch.num_rows for batch in read()), read=read, load=load)


def _is_later(old: str, new: str) -> bool:
    """Whether items that had failed were tried again, and all that was committed stayed so."""
    before, after = list(decode_outcomes(old)), list(decode_outcomes(new))
    return (
        old != new
        and len(before) == len(after)
        and all(now.has_rows for was, now in zip(before, after, strict=True) if was.has_rows)
    )


def _select_rows(rows: Iterable[pa.RecordBatch], old: str, new: str) -> Iterator[pa.RecordBatch]:
    """The rows of an item are neighbours and have its key in the first column; items without rows
    are not committed."""
    is_new = iter(
        [
            not was.has_rows
            for was, now in zip(decode_outcomes(old), decode_outcomes(new), strict=True)
            if now.has_rows
        ]
    )
    key, is_wanted = object(), False
    for batch in rows:
        start = 0
        for value, group in groupby(batch.column(0).to_pylist()):
            stop = start + len(list(group))
            if value != key:
                key, is_wanted = value, next(is_new)
            if is_wanted:
                yield batch.slice(start, stop - start)
            start = stop
