"""What came of items, as pieces to put aside: those that ended at one moment make one table.

Who runs an item gives its rows as they are. A table of one row takes nearly as long to make as one
of fifty (decision 0149).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import pyarrow as pa

from batten.model.disk.items.slowest import merge_slowest
from batten.rows.fit_or_unfit import Unfitting, build_tables, build_tables_alike
from batten.work.calling.calls import Failure
from batten.work.item_runner import Done
from batten.work.staged.chunk_files import Piece, cut_pieces, scatter_pieces
from batten.work.unfitting_rows import fail_unfitting


def make_pieces(
    ended: Sequence[Done], schema: pa.Schema | None, *, keeps_failures: bool
) -> list[Piece]:
    """Pieces with all these items, which are in order and share none. Whose rows turn out not to
    fit is a failure of its `Done`. Where failures are not kept, each `Done` ends before its first.
    While no schema is pinned, items of different types lie apart."""
    if not keeps_failures:
        for done in ended:
            done.end_before_failure()
    tables, misfits = _tabulate(ended, schema)
    if misfits:
        _tell(ended, fail_unfitting(misfits))
        if not keeps_failures:
            return make_pieces(ended, schema, keeps_failures=False)
    failures = [each for done in ended for each in done.failures if each.item < done.stop]
    slowest = merge_slowest(slow for done in ended for slow in done.slowest)
    if len(ended) == 1 and ended[0].start < ended[0].stop:
        return cut_pieces(ended[0].start, ended[0].stop, tables, failures, slowest)
    items = [item for done in ended for item in range(done.start, done.stop)]
    return scatter_pieces(items, tables, failures, slowest) if items else []


def _tabulate(
    ended: Sequence[Done], schema: pa.Schema | None
) -> tuple[list[pa.Table], list[Unfitting]]:
    tables = [table for done in ended for table in done.tables]
    if tables:
        if schema is not None and len(tables) > 1:
            tables = [pa.concat_tables(tables).combine_chunks()]
        return tables, []
    rows = [row for done in ended for row in done.rows]
    owners = [owner for done in ended for owner in done.owners]
    if schema is None and len(ended) > 1:
        return build_tables_alike(rows, owners)
    return build_tables(rows, owners, schema)


def _tell(ended: Sequence[Done], misfits: Iterable[Failure]) -> None:
    starts = [done.start for done in ended]
    own: dict[int, list[Failure]] = {}
    for misfit in misfits:
        own.setdefault(bisect_right(starts, misfit.item) - 1, []).append(misfit)
    for number, failures in own.items():
        ended[number].fail(failures)
