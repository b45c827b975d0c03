"""`map_batches` and what follows it: calls with the rows of several items at a time.

Items are never blamed together. A call that fails is made again with each item alone. If the device
ran out of memory, it is first made with each half of them (decision 0138).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from batten.jobs.step import Step
from batten.model.telling.cutting import cut_middle
from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM
from batten.rows.fit_or_unfit import build_tables
from batten.rows.fitting import Unfit
from batten.rows.returned_rows import as_row
from batten.work.calling.calls import (
    BeginTry,
    Call,
    Chain,
    Failure,
    ItemFailedError,
    Outfit,
    as_final,
    without_secrets,
)

Group = tuple[int, list[dict[str, Any]]]
"""An item's number in its batch, and its rows."""


class UnitCalls:
    """`map_batches` and what follows it, over the rows of a unit of items. `first_item` is the
    number, in the plan, of the first item of their batch."""

    def __init__(self, steps: Sequence[Step], key_column: str, first: int, outfit: Outfit) -> None:
        self.first_item = 0
        self._tokens, self._tokens_max = steps[0].tokens, steps[0].tokens_max
        self._teller = outfit.teller
        self._call = Call(steps[0], first, outfit)
        place = next((n for n, s in enumerate(steps[1:], 1) if s.kind == "map_batches"), len(steps))
        self._chain = Chain(steps[1:place], first + 1, outfit) if place > 1 else None
        self._next = None
        if place < len(steps):
            self._next = UnitCalls(steps[place:], key_column, first + place, outfit)
        self._key_column = key_column
        self._seeding = outfit.seeding

    @property
    def functions(self) -> list[Any]:
        """Those of all its steps."""
        inner = [] if self._chain is None else self._chain.functions
        following = [] if self._next is None else self._next.functions
        return [self._call.function, *inner, *following]

    def watch_tries(self, begin_try: BeginTry) -> None:
        self._call.begin_try = begin_try
        if self._chain is not None:
            self._chain.watch_tries(begin_try)
        if self._next is not None:
            self._next.watch_tries(begin_try)

    def run(
        self,
        rows: list[dict[str, Any]],
        owners: list[int],
        keys: Sequence[Any],
        start: int,
        failures: list[Failure],
        is_apart: bool,
    ) -> list[pa.Table]:
        """Tables of the results; adds the items that failed to `failures`."""
        groups, counts = [], []
        for group in _by_item(rows, owners):
            try:
                counts.append(self._count(group))
                groups.append(group)
            except ItemFailedError as error:
                failures.append(error.at(group[0]))
        made: list[pa.Table] = []
        for together in _alone(groups) if is_apart else self._cut(groups, counts):
            made += self._try_with(together, keys, start, failures, may_halve=True)
        return made

    def _try_with(
        self,
        groups: list[Group],
        keys: Sequence[Any],
        start: int,
        failures: list[Failure],
        *,
        may_halve: bool,
    ) -> list[pa.Table]:
        self._begin_unit(groups, keys, start)
        try:
            return self._call_with(groups, keys, start)
        except (ItemFailedError, Unfit) as error:
            if len(groups) == 1:
                failures.append(failure_of(error, groups[0][0]))
                return []
            is_too_much = isinstance(error, ItemFailedError) and error.is_out_of_memory
        # The error is gone by now, and with it what it held of the device's memory.
        parts = _halve(groups) if may_halve and is_too_much else _alone(groups)
        return [
            table
            for part in parts
            for table in self._try_with(part, keys, start, failures, may_halve=False)
        ]

    def _count(self, group: Group) -> float:
        """The tokens of an item's rows; 0 where they are not counted. Raises `ItemFailedError`."""
        if self._tokens is None:
            return 0
        try:
            return sum(_read_tokens(self._tokens(row)) for row in group[1])
        except BaseException as error:
            raise as_final(error, 1) from error

    def _cut(self, groups: Sequence[Group], counts: Sequence[float]) -> Iterator[list[Group]]:
        """Those that are called together: consecutive ones with no more tokens than are allowed. An
        item that has more goes alone."""
        together: list[Group] = []
        tokens = 0.0
        for group, count in zip(groups, counts, strict=True):
            if together and self._tokens_max is not None and tokens + count > self._tokens_max:
                yield together
                together, tokens = [], 0.0
            together.append(group)
            tokens += count
        if together:
            yield together

    def _begin_unit(self, groups: Sequence[Group], keys: Sequence[Any], start: int) -> None:
        """A unit has the numbers of its first item and of how many it holds. What its call uses
        stands at its first item."""
        if self._teller is not None:
            self._teller.item = self.first_item + groups[0][0]
        if self._seeding is not None:
            self._seeding.begin_item(f"{len(groups)} from {keys[groups[0][0] - start]}")

    def _call_with(self, groups: list[Group], keys: Sequence[Any], start: int) -> list[pa.Table]:
        rows = [row for _, own in groups for row in own]
        owners = [item for item, own in groups for _ in own]
        tables, unfitting = build_tables(
            [{k: v for k, v in row.items() if k != self._key_column} for row in rows], owners, None
        )
        if unfitting or len(tables) != 1:
            raise Unfit(
                unfitting[0].reason if unfitting else "rows of different types in one Arrow table"
            )
        table = tables[0].drop_columns([ITEM])
        key_values = pa.array([keys[owner - start] for owner in owners])
        table = table.add_column(0, self._key_column, key_values)
        given = self._call.run(table)
        if self._teller is not None:
            self._teller.settle()
        made = self._accept(given, owners, keys, start)
        if self._chain is None and self._next is None:
            return [made] if made.num_rows else []
        return self._follow(made, keys, start)

    def _call_each(self, groups: list[Group], keys: Sequence[Any], start: int) -> list[pa.Table]:
        """For what the `map_batches` before it gave. If one call fails, all of that fails."""
        counts = [self._count(group) for group in groups]
        return [
            table
            for together in self._cut(groups, counts)
            for table in self._call_with(together, keys, start)
        ]

    def _accept(self, made: Any, owners: list[int], keys: Sequence[Any], start: int) -> pa.Table:
        """The result with the item of each row, in the order of the plan."""
        if isinstance(made, pa.RecordBatch):
            made = pa.Table.from_batches([made])
        if not isinstance(made, pa.Table):
            raise Unfit(f"the function returned a {type(made).__name__}, not an Arrow table")
        if self._key_column in made.column_names:
            allowed = {keys[owner - start]: owner for owner in owners}
            try:
                items = [allowed[key] for key in made.column(self._key_column).to_pylist()]
            except KeyError as error:
                raise Unfit(f"the result has a key that did not go in: {error}") from error
            made = made.drop_columns([self._key_column])
        elif made.num_rows == len(owners):
            items = owners
        else:
            raise Unfit(
                f"the result has {made.num_rows} rows for {len(owners)} and no column "
                f"{self._key_column!r} that says which are whose"
            )
        made = made.combine_chunks().append_column(ITEM, integers(items))
        return made if items == sorted(items) else made.sort_by(ITEM).combine_chunks()

    def _follow(self, made: pa.Table, keys: Sequence[Any], start: int) -> list[pa.Table]:
        owners = made.column(ITEM).to_pylist()
        rows = made.drop_columns([ITEM]).to_pylist()
        if self._chain is not None:
            pairs = [
                (as_row(value), owner)
                for row, owner in zip(rows, owners, strict=True)
                for value in self._chain.run(row)
            ]
            rows, owners = [row for row, _ in pairs], [owner for _, owner in pairs]
        if self._next is not None:
            return self._next._call_each(_by_item(rows, owners), keys, start)
        tables, unfitting = build_tables(rows, owners, None)
        if unfitting:
            raise Unfit(unfitting[0].reason)
        return tables


def _by_item(rows: list[dict[str, Any]], owners: list[int]) -> list[Group]:
    groups: list[Group] = []
    for row, owner in zip(rows, owners, strict=True):
        if groups and groups[-1][0] == owner:
            groups[-1][1].append(row)
        else:
            groups.append((owner, [row]))
    return groups


def _alone(groups: Sequence[Group]) -> list[list[Group]]:
    return [[group] for group in groups]


def _halve(groups: Sequence[Group]) -> list[list[Group]]:
    middle = len(groups) // 2
    return [list(groups[:middle]), list(groups[middle:])]


def failure_of(error: ItemFailedError | Unfit, item: int) -> Failure:
    """What is kept of an item that failed with that error."""
    if isinstance(error, ItemFailedError):
        return error.at(item)
    return fail_rows(item, str(error), error.rows)


def fail_rows(item: int, why: str, rows: str) -> Failure:
    """The failure of an item whose rows can't be kept; they are in the quarantine as they were."""
    told = without_secrets(f"What it gave: {rows}\n") if rows else ""
    return Failure(item=item, error=why, trace=told, attempts=1)


def _read_tokens(told: Any) -> float:
    """A number that limits nothing, such as NaN, would let a call grow without end."""
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(told, str | bytes) and 0 <= (number := float(told)) < math.inf:
            return number
    raise ValueError(f"`tokens` gave {cut_middle(repr(told), 100)}, which is no number from 0 on")
