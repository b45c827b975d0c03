"""What rows of a hand-made job must be like, to be rows of a dataset.

Types come from the job, as in a run. Where it says none, the rows do: those that have a value in
each column in which most rows have one. An error row is none of these, whatever its columns are
called.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from batten.errors import UsageError
from batten.jobs.devices import Worker
from batten.jobs.step import Step
from batten.model.telling.type_names import show_literal, show_type
from batten.rows.columns_of_rows import ITEM
from batten.rows.declared import Declared
from batten.rows.fit_or_unfit import build_tables
from batten.rows.fitting import Unfit
from batten.rows.schema import find_unknown_columns, join_schemas
from batten.strangers.files import UNCHANGED
from batten.work.calling.calls import prepare_function
from batten.work.calling.results import refuse_failed

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)

_SHOWN = 40


def makes_rows(step: Step) -> bool:
    return step.kind not in ("filter", "check")


class Shapes:
    """Counts in which columns rows have values, and joins the types of whole ones."""

    def __init__(self) -> None:
        self._rows = 0
        self._filled: Counter[str] = Counter()

    def count(self, row: Mapping[str, Any]) -> None:
        self._rows += 1
        self._filled.update(name for name, value in row.items() if not _is_empty(value))

    @property
    def usual(self) -> frozenset[str]:
        """The columns in which most rows have a value."""
        return frozenset(name for name, count in self._filled.items() if 2 * count > self._rows)

    def is_whole(self, row: Mapping[str, Any]) -> bool:
        return all(not _is_empty(row.get(name)) for name in self.usual)


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def infer_schema(blocks: Iterator[list[dict[str, Any]]], declared: Declared) -> pa.Schema:
    """The columns that whole rows pin, as the first rows of a run do. Raises `UsageError` where a
    type stays open."""
    schemas = (
        table.schema.remove(table.schema.get_field_index(ITEM))
        for rows in blocks
        for table in build_tables(rows, range(len(rows)), None)[0]
    )
    joined = join_schemas(schemas)
    schema = declared.settle(pa.schema([]) if joined is None else joined)
    if unknown := find_unknown_columns(schema):
        known = ", ".join(
            f"{show_literal(field.name)}: {show_literal(show_type(field.type, is_open=True))}"
            for field in schema
        )
        raise UsageError(
            f"The type of {', '.join(map(repr, unknown))} can't be known: no row has a value.",
            safe=UNCHANGED,
            next=f"Say the types in the job: .options(schema={{{known}}})",
        )
    return schema


class TextTypes:
    """Guesses types of columns of texts: a number where each text is what Python writes of one, so
    that nothing of a text is lost."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}

    def count(self, row: Mapping[str, str]) -> None:
        for name, text in row.items():
            if text:
                self._kinds.setdefault(name, set()).add(_find_kind(text))

    def convert(self, row: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """The row with values, but for columns that are `known`."""
        return {
            name: value if name in known or not isinstance(value, str) else self._read(name, value)
            for name, value in row.items()
        }

    def _read(self, name: str, text: str) -> Any:
        kinds = self._kinds.get(name, set())
        if kinds <= {int, float}:
            kind = float if float in kinds else int
            return kind(text) if text else None
        if kinds == {bool}:
            return text == "True" if text else None
        return text


def _find_kind(text: str) -> type:
    if text in ("True", "False"):
        return bool
    if _WHOLE.fullmatch(text):
        return int
    try:
        return float if repr(float(text)) == text else str
    except ValueError:
        return str


class Fit:
    """Holds rows against the columns of the dataset, and the checks that the job asks for."""

    def __init__(self, schema: pa.Schema, usual: frozenset[str], steps: Sequence[Step]) -> None:
        self.schema = schema
        self._usual = [name for name in schema.names if name in usual]
        self._types = {field.name: field.type for field in schema}
        made = max((n for n, step in enumerate(steps) if makes_rows(step)), default=-1)
        self._checks = [
            (step, prepare_function(step, Worker()))
            for step in steps[made + 1 :]
            if not step.is_async
        ]

    def convert(self, row: Mapping[str, Any], *, is_text: bool) -> dict[str, Any]:
        """The row with values for texts that stand for them. Raises `Unfit`."""
        return {
            name: self._read(name, value, is_text=is_text) if isinstance(value, str) else value
            for name, value in row.items()
        }

    def _read(self, name: str, text: str, *, is_text: bool) -> Any:
        kind = self._types.get(name)
        if kind is None:
            return text or None if is_text else text
        if not _is_written_as_text(kind) if is_text else _is_time(kind):
            if not text:
                return None
            try:
                return pa.array([text]).cast(kind)[0].as_py()
            except pa.ArrowException as error:
                shown = show_literal(text[:_SHOWN])
                raise Unfit(f"the column {name!r} is {shown}, no {show_type(kind)}") from error
        return text

    def find_faults(self, rows: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Why rows don't fit, by their place among these."""
        faults: dict[int, str] = {}
        for place, row in enumerate(rows):
            if why := self._find_gap(row):
                faults[place] = why
        fitting = [place for place in range(len(rows)) if place not in faults]
        _, unfitting = build_tables([rows[place] for place in fitting], fitting, self.schema)
        faults.update({each.item: each.reason for each in unfitting})
        for place in fitting if self._checks else ():
            if place not in faults and (why := self._check(rows[place])):
                faults[place] = why
        return faults

    def _find_gap(self, row: Mapping[str, Any]) -> str:
        if missing := [name for name in self._usual if name not in row]:
            return f"it has no column {missing[0]!r}, which most rows have"
        if all(value is None for value in row.values()):
            return "it has no values"
        return ""

    def _check(self, row: dict[str, Any]) -> str:
        try:
            for step, function in self._checks:
                verdict = function(dict(row))
                if step.kind == "check":
                    refuse_failed(step.function, verdict)
                elif not verdict:
                    return "the job's filter leaves it out"
        except Exception as error:  # noqa: BLE001  the job's own code, and it says why
            return str(error) or type(error).__name__
        return ""


def _is_written_as_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_time(kind: pa.DataType) -> bool:
    """What JSON has no type for."""
    return bool(pa.types.is_temporal(kind) or pa.types.is_decimal(kind))
