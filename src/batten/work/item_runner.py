"""Runs the steps over consecutive items of a batch, one at a time or by units.

`map_batches` takes its items by units.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batten.errors import BattenError, StorageError
from batten.executors.base import Mark
from batten.executors.randomness import seed_held
from batten.jobs.step import Step
from batten.model.disk.items.slowest import Slow, Slowest
from batten.rows.columns_of_rows import ITEM
from batten.rows.fitting import Unfit
from batten.rows.returned_rows import as_row
from batten.sources.base import Gone, Unavailable
from batten.work.calling.calls import (
    BARE,
    Chain,
    Failure,
    ItemFailedError,
    Outfit,
    describe_error,
)
from batten.work.calling.units import UnitCalls, failure_of
from batten.work.unfitting_rows import fail_unfitting, fit_tables, without_key
from batten.work.usage import Teller

if TYPE_CHECKING:
    from batten.work.staged.item_files import ItemFiles


@dataclass(kw_only=True)
class Done:
    """Items `start` to `stop` (exclusive) were run. Their rows are `rows`, each of its owner, or
    `tables` that fit the schema; these failed, in order, and these took longest. With the next one
    came an `error` that ends the run."""

    start: int
    stop: int
    rows: Sequence[dict[str, Any]] = ()
    owners: Sequence[int] = ()
    tables: Sequence[pa.Table] = ()
    failures: list[Failure] = field(default_factory=list)
    error: BattenError | None = None
    slowest: tuple[Slow, ...] = ()

    def fail(self, failures: Sequence[Failure]) -> None:
        """Their rows turned out not to fit."""
        failed = {failure.item for failure in failures}
        kept = [place for place, owner in enumerate(self.owners) if owner not in failed]
        self.rows = [self.rows[place] for place in kept]
        self.owners = [self.owners[place] for place in kept]
        self.failures = sorted([*self.failures, *failures], key=lambda failure: failure.item)

    def end_before_failure(self) -> None:
        """An item that failed stays to be done, with all after it: the run ends on it."""
        if not self.failures:
            return
        self.stop = stop = self.failures[0].item
        kept = bisect_left(self.owners, stop)
        self.rows, self.owners = self.rows[:kept], self.owners[:kept]
        cut = [table.slice(0, bisect_left(_items_of(table), stop)) for table in self.tables]
        self.tables = [table for table in cut if table.num_rows]


class ItemRunner:
    """Runs the steps in one worker. Made on the first task, so that classes are constructed
    there. With `files`, what the steps give are files of the items of `batch`."""

    def __init__(
        self,
        steps: Sequence[Step],
        key_column: str,
        has_time_limit: bool,
        files: ItemFiles | None = None,
        outfit: Outfit = BARE,
    ) -> None:
        self.files = files
        self._teller: Teller | SimpleNamespace = outfit.teller or SimpleNamespace()
        self.batch = 0
        self._seeding = outfit.seeding
        place = next((n for n, step in enumerate(steps) if step.kind == "map_batches"), None)
        self._chain = Chain(steps if place is None else steps[:place], 0, outfit)
        if files is not None:
            self._hold = files.make_hold()
            self._chain.hold(self._hold)
        self._has_time_limit = has_time_limit
        self._key_column = key_column
        self._units = None
        if place is not None:
            self._units = UnitCalls(steps[place:], key_column, place, outfit)
        if self._seeding is None:
            in_units = [] if self._units is None else self._units.functions
            seed_held([*self._chain.functions, *in_units])

    @property
    def takes_units(self) -> bool:
        """Whether some items must go through the steps together."""
        return self._units is not None

    def run(
        self,
        items: Iterable[Any],
        keys: Sequence[Any],
        start: int,
        first_item: int,
        mark: Mark,
        schema: pa.Schema | None,
        seconds: float | None,
        is_apart: bool = False,
        failures_max: int | None = None,
    ) -> Done:
        """Run over `items`, which are `start` and on of a batch whose first item is number
        `first_item` of the plan. Stops early when `seconds` are over, or after an item that failed
        where so many have or the run drains; at least one item is always run. With `map_batches`,
        runs all; `is_apart` then calls it for each item alone."""
        slowest = Slowest()
        rows, owners, failures, stop, error = self._collect(
            items, keys, start, first_item, mark, seconds, failures_max, slowest
        )
        tables: list[pa.Table] = []
        if self._units is None:
            rows, owners, unfitting = without_key(rows, owners, keys, start, self._key_column)
        else:
            if self._has_time_limit:
                self._units.watch_tries(partial(mark.begin, first_item + start))
            mark.begin(first_item + start, inf)
            self._units.first_item = first_item
            made = self._units.run(rows, owners, keys, start, failures, is_apart)
            rows, owners = [], []
            tables, unfitting = fit_tables(made, schema)
        mark.end()
        failures += fail_unfitting(unfitting)
        failures.sort(key=lambda failure: failure.item)
        return Done(
            start=start,
            stop=stop,
            rows=rows,
            owners=owners,
            tables=tables,
            failures=failures,
            error=error,
            # Those of a unit have no times of their own (decision 0125).
            slowest=slowest.list_all() if self._units is None else (),
        )

    def _collect(
        self,
        items: Iterable[Any],
        keys: Sequence[Any],
        start: int,
        first_item: int,
        mark: Mark,
        seconds: float | None,
        failures_max: int | None,
        slowest: Slowest,
    ) -> tuple[list[dict[str, Any]], list[int], list[Failure], int, BattenError | None]:
        rows: list[dict[str, Any]] = []
        owners: list[int] = []
        failures: list[Failure] = []
        until = None if seconds is None or self._units is not None else perf_counter() + seconds
        most = inf if failures_max is None or self._units is not None else failures_max
        number, ending = start - 1, None
        chain, run, begin, is_timed = self._chain, self._chain.run, mark.begin, self._has_time_limit
        iterator, seeding, files = iter(items), self._seeding, self.files
        teller = self._teller
        least = slowest.least
        slow_after = perf_counter() + least
        for number in range(start, start + len(keys)):
            in_hand = first_item + number
            # The mark comes before the read: reading may be what ends the worker.
            begin(in_hand, inf)
            teller.item = in_hand
            item = next(iterator)
            if is_timed:
                chain.watch_tries(partial(begin, in_hand))
            if seeding is not None:
                seeding.begin_item(keys[number - start])
            try:
                made = run(item) if type(item) not in _ABSENT else give_none(item)
                for value in made if files is None else self._name(keys[number - start], made):
                    rows.append(value if type(value) is dict else as_row(value))
                    owners.append(number)
            except (ItemFailedError, Unfit) as error:
                failures.append(failure_of(error, number))
                _drop(rows, owners, number)
                if len(failures) >= most or (mark.is_draining and self._units is None):
                    break
            except BattenError as error:
                _tell_in_hand(error, keys[number - start])
                if number == start or self._units is not None:
                    raise
                _drop(rows, owners, number)
                number, ending = number - 1, error
                break
            finally:
                if files is not None:
                    self._hold.release()
                now = perf_counter()
                if now > slow_after:
                    slowest.take(in_hand - first_item, now - slow_after + least)
                    least = slowest.least
                slow_after = now + least
            if until is not None and now > until:
                break
        return rows, owners, failures, number + 1, ending

    def _name(self, key: Any, made: Sequence[Any]) -> list[dict[str, Any]]:
        return self.files.name(self.batch, key, made, self._hold) if self.files is not None else []


def _tell_in_hand(error: BattenError, key: Any) -> None:
    if isinstance(error, StorageError):
        error.what += f" The item in hand: {key!r}."


_ABSENT = (Gone, Unavailable)


def give_none(item: Gone | Unavailable) -> tuple[()]:
    """The rows of an item that is not there; one that ought to be there has failed."""
    if isinstance(item, Unavailable):
        raise ItemFailedError(*describe_error(item.error), 1)
    return ()


def _drop(rows: list[Any], owners: list[int], item: int) -> None:
    """Take back the rows of an item that failed in the middle of them."""
    while owners and owners[-1] == item:
        owners.pop()
        rows.pop()


def _items_of(table: pa.Table) -> list[int]:
    items: list[int] = table.column(ITEM).to_pylist()
    return items
