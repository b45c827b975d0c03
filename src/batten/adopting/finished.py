"""The finished rows of a hand-made job: looked through, and found again by the keys of their items.

A row is finished if it is whole, fits the columns of the dataset, and is the only one of its item,
or the same as the others. All that is not taken is counted, and the first few are named. In memory
are the places of rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from batten.adopting.row_files import FoundRow, RowFile, changed
from batten.adopting.row_places import RowPlace, RowPlaces
from batten.adopting.row_shapes import Fit, Shapes, TextTypes, infer_schema, makes_rows
from batten.jobs.definition import Definition
from batten.model.value_class import value_class
from batten.rows.declared import Declared, find_declared
from batten.rows.fitting import Unfit
from batten.sources.identity.keys import NoKey, make_key
from batten.strangers.lines import TORN

NAMED = 5
"""How many of a kind are named."""

_BLOCK_ROWS = 1024


@value_class
class Passed:
    """Rows or items that were not taken for one reason: how many, the first of them by name, and
    what is wrong with the first."""

    kind: str
    count: int = 0
    names: tuple[str, ...] = ()
    why: str = ""


class WholeRow(NamedTuple):
    """A whole row with a key. Its columns are without the key, unless that is one of them."""

    at: RowPlace
    key: str
    columns: dict[str, Any]


class FinishedFiles:
    """Rows by the keys of their items. First `look_through` is called, once."""

    def __init__(
        self, files: Sequence[RowFile], key: str, job: Definition, done: Collection[str] | None
    ) -> None:
        """With `done`, only rows of these keys are taken."""
        self._files = files
        self._key = key
        self._job = job
        self._name_key: Callable[[str], str] = getattr(job.source, "name_key", str)
        self._done = None if done is None else dict.fromkeys(map(self._name_key, done))
        making = [step for step in job.steps if makes_rows(step)]
        self.is_single = all(step.kind == "map" for step in making)
        """Whether an item has one row at most."""
        self._keeps_key = bool(making) and making[-1].keeps_input
        self._rows = RowPlaces()
        self._passed: dict[str, Passed] = {}
        self._schema: pa.Schema | None = None
        self._fit: Fit | None = None

    @property
    def inputs(self) -> Sequence[Path]:
        return [Path(file.path) for file in self._files]

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            raise RuntimeError("the rows were not looked through")
        return self._schema

    def look_through(self, pinned: pa.Schema | None) -> None:
        """Choose the finished rows. Raises `UsageError` if the types of columns stay open."""
        settings = self._job.settings
        declared = find_declared(self._job.steps, settings.schema, settings.key_column)
        known = pinned if pinned is not None else declared.schema
        names = known.names if known is not None else declared.columns
        self._keeps_key = self._key != settings.key_column and (
            self._keeps_key or self._key in names
        )
        shapes = Shapes()
        for row in self._scan(is_first=True):
            shapes.count(row.columns)
        if known is None or (pinned is None and not declared.is_settled):
            known = self._infer(shapes, declared)
        self._schema = known
        self._fit = Fit(known, shapes.usual, self._job.steps)
        rows = self._scan()
        while block := list(islice(rows, _BLOCK_ROWS)):
            self._take(self._fit, block)
        if not self.is_single:
            self._refuse_repeated()

    def _scan(self, *, is_first: bool = False) -> Iterator[WholeRow]:
        """Whole rows with keys; those that are none are told of the first time."""
        for number, file in enumerate(self._files):
            for found in file.scan():
                key, why = self._read_key(file, found)
                if why:
                    if is_first:
                        name = f"{file.path}:{found.line}"
                        kind = "without_key" if found.row is not None else "malformed_lines"
                        self._pass("torn_lines" if why == TORN else kind, name, why)
                elif self._done is not None and key not in self._done:
                    if is_first:
                        self._pass("not_done", key, "its key is not marked as done")
                else:
                    columns = self._strip(found.row or {})
                    yield WholeRow(RowPlace(number, found.place), key, columns)

    def _read_key(self, file: RowFile, found: FoundRow) -> tuple[str, str]:
        """The key of the row, or why there is none."""
        if found.row is None:
            return "", found.why
        value = found.row.get(self._key)
        if self._key not in found.row and file.name:
            value = file.name
        try:
            key = make_key(value)
            return (self._name_key(key) if value == key else key), ""
        except NoKey as error:
            return "", str(error) if self._key in found.row else f"no field {self._key!r}"

    def _strip(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._keeps_key or self._key not in row:
            return row
        return {name: value for name, value in row.items() if name != self._key}

    def _infer(self, shapes: Shapes, declared: Declared) -> pa.Schema:
        """Of whole rows, with what the job says of its columns."""
        said = [field for field in declared.columns.values() if field is not None]
        fit, types = Fit(pa.schema(said), frozenset(), ()), TextTypes()
        names = {field.name for field in said}

        def convert(row: WholeRow) -> dict[str, Any]:
            is_text = self._files[row.at.file].is_text
            values = fit.convert(row.columns, is_text=is_text)
            return types.convert(values, names) if is_text else values

        def list_blocks() -> Iterator[list[dict[str, Any]]]:
            rows = (row for row in self._scan() if shapes.is_whole(row.columns))
            while block := list(islice(rows, _BLOCK_ROWS)):
                yield [converted for row in block if (converted := _or_none(convert, row))]

        for row in self._scan():
            if self._files[row.at.file].is_text and shapes.is_whole(row.columns):
                types.count(row.columns)
        return infer_schema(list_blocks(), declared)

    def _take(self, fit: Fit, block: Sequence[WholeRow]) -> None:
        rows: list[dict[str, Any]] = []
        of: list[WholeRow] = []
        for row in block:
            try:
                rows.append(self._convert(fit, row))
                of.append(row)
            except Unfit as error:
                self._pass("misfits", row.key, str(error))
        faults = fit.find_faults(rows)
        for place, (row, converted) in enumerate(zip(of, rows, strict=True)):
            if place in faults:
                self._pass("misfits", row.key, faults[place])
            else:
                self._add(row, converted)

    def _convert(self, fit: Fit, row: WholeRow) -> dict[str, Any]:
        converted = fit.convert(row.columns, is_text=self._files[row.at.file].is_text)
        name = self._job.settings.key_column
        if name in converted:
            if str(converted[name]) != row.key:
                raise Unfit(f"it has a column {name!r}, which is the name of the key's")
            del converted[name]
        return converted

    def _add(self, row: WholeRow, converted: dict[str, Any]) -> None:
        number = self._rows.find(row.key)
        if number is None or not self.is_single:
            self._rows.add(row.key, row.at)
            return
        own = self._load_row(self._rows.first_row(number), row.key)
        if repr(own) == repr(converted):
            self._pass("doubled", row.key, "it has the same row more than once")
        elif self._rows.is_taken(number):
            self._differ(number, row.key, "it has rows that differ")

    def _differ(self, number: int, key: str, why: str) -> None:
        self._rows.refuse(number)
        self._pass("differing", key, why)

    def _refuse_repeated(self) -> None:
        """Where an item may have many rows, one that is there twice may have been written twice."""
        for number in self._rows.list_repeated():
            key = self._find_key(number)
            rows = [repr(row) for row in self._load_rows(number, key, set())]
            if len(set(rows)) < len(rows):
                self._differ(number, key, "it has the same row more than once")

    def _pass(self, kind: str, name: str, why: str) -> None:
        before = self._passed.get(kind, Passed(kind=kind, why=why))
        names = before.names if len(before.names) == NAMED else (*before.names, name)
        self._passed[kind] = Passed(kind=kind, count=before.count + 1, names=names, why=before.why)

    @property
    def has_any(self) -> bool:
        return self._rows.has_taken

    def has(self, key: str) -> bool:
        number = self._rows.find(key)
        return number is not None and self._rows.is_taken(number)

    def meet(self, key: str) -> bool:
        number = self._rows.find(key)
        if number is not None:
            self._rows.meet(number)
        return number is not None and self._rows.is_taken(number)

    def load(self, keys: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
        looked_at: set[int] = set()
        for key in keys:
            number = self._rows.find(key)
            if number is None:
                raise changed(str(self.inputs[0]))
            yield list(self._load_rows(number, key, looked_at))

    def _load_rows(self, number: int, key: str, looked_at: set[int]) -> Iterator[dict[str, Any]]:
        """Each file is looked at once before its rows are: `looked_at` are those that were."""
        for at in self._rows.list_rows(number):
            if at.file not in looked_at:
                looked_at.add(at.file)
                self._files[at.file].refuse_changed()
            yield self._load_row(at, key)

    def _load_row(self, at: RowPlace, wanted: str) -> dict[str, Any]:
        file = self._files[at.file]
        row = file.load(at.place)
        key, _ = self._read_key(file, FoundRow(place=0, line=0, row=row))
        if key != wanted or self._fit is None:
            raise changed(file.path)
        try:
            return self._convert(self._fit, WholeRow(at, key, self._strip(row)))
        except Unfit as error:
            raise changed(file.path) from error

    def _find_key(self, number: int) -> str:
        at = self._rows.first_row(number)
        file = self._files[at.file]
        row = file.load(at.place)
        return self._read_key(file, FoundRow(place=0, line=0, row=row))[0]

    def list_keys(self) -> Iterator[str]:
        return map(self._find_key, range(len(self._rows)))

    def list_passed(self) -> list[Passed]:
        """What was not taken; after the source was met, also what it does not have."""
        unknown = self._rows.list_unmet()
        found = dict(self._passed)
        if unknown:
            found["unknown"] = Passed(
                kind="unknown",
                count=len(unknown),
                names=tuple(map(self._find_key, unknown[:NAMED])),
                why="the source has no such key",
            )
        if self._done is not None:
            lacking = [key for key in self._done if self._rows.find(key) is None]
            if lacking:
                found["done_without_rows"] = Passed(
                    kind="done_without_rows",
                    count=len(lacking),
                    names=tuple(lacking[:NAMED]),
                    why="it is marked as done, and no row of it can be taken",
                )
        return list(found.values())


def _or_none(convert: Any, row: WholeRow) -> dict[str, Any] | None:
    try:
        converted: dict[str, Any] = convert(row)
    except Unfit:
        return None
    return converted
