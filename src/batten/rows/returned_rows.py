"""Rows as functions return them: what is one, and what is shown of those that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batten.model.telling.counts import count_of
from batten.model.telling.cutting import cut_middle
from batten.rows.fitting import Unfit
from batten.rows.values import as_record

ROWS_SHOWN = 3
_CHARACTERS_SHOWN = 10_000


def as_row(value: Any) -> dict[str, Any]:
    """The row that a function returned: a dict, a dataclass, a pydantic model or a named tuple;
    raises `Unfit`."""
    if type(value) is dict:
        return value
    try:
        if isinstance(value, dict):
            return dict(value)
        if (record := as_record(value)) is not None:
            return record
    except Exception as error:
        kind = type(value).__name__
        told = f"a {kind} can't be made a row: {type(error).__name__}: {error}"
        raise Unfit(told, show_value(value)) from error
    kind = "None" if value is None else f"of type {type(value).__name__}"
    told = f"the row is {kind}; a row is a dict, a dataclass or a pydantic model"
    raise Unfit(told, show_value(value))


def show_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """For who looks why they do not fit: the first ones, without what is too long."""
    told = "\n".join(map(show_value, rows[:ROWS_SHOWN]))
    left = len(rows) - ROWS_SHOWN
    return f"{told}\n… ({left:,} rows more)" if left > 0 else told


def show_value(value: Any) -> str:
    """The same of one value."""
    if isinstance(value, dict):
        told = ", ".join(f"{name!r}: {show_value(each)}" for name, each in value.items())
        return f"{{{told}}}"
    if isinstance(value, bytes | bytearray | memoryview):
        return count_of(len(value), "byte")
    if isinstance(value, str):
        return repr(cut_middle(value, _CHARACTERS_SHOWN))
    try:
        return cut_middle(repr(value), _CHARACTERS_SHOWN)
    except Exception as error:  # noqa: BLE001 - a class of the user's own
        return f"a {type(value).__name__} that can't be shown ({type(error).__name__})"
