"""What goes on to the next step, of a value and what the function gave for it.

It is one for functions that await and those that don't.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sized
from typing import Any

from batten.jobs.step import Step
from batten.model.telling.hiding import redact
from batten.rows.fitting import Unfit
from batten.rows.returned_rows import as_row, show_value


def hold_input(step: Step, value: Any) -> dict[str, Any] | None:
    """The columns of the value that a step's rows are to have, as they are before its function is
    called; None if it keeps none. Raises `Unfit` for a value without columns."""
    if not step.keeps_input:
        return None
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return dict(as_row(value))
    except Unfit as error:
        kind = type(value).__name__
        raise Unfit(
            f"keep_input= takes items with columns, and this one is of type {kind}"
        ) from error


def list_results(step: Step, value: Any, kept: dict[str, Any] | None, made: Any) -> list[Any]:
    """The values that go on. Raises `Unfit` for one that does not pass a check."""
    match step.kind:
        case "map":
            return [made if kept is None else {**kept, **as_row(made)}]
        case "flat_map":
            return list(made) if kept is None else [{**kept, **as_row(row)} for row in made]
        case "check":
            refuse_failed(step.function, made, value)
            return [value]
        case _:
            return [value] if made else []


def refuse_failed(check: Any, verdict: Any, value: Any = None) -> None:
    """A check passes by saying yes or nothing; a text says why it does not, as `Unfit`. What is
    true only because something is in it is no answer: a list of faults, a mask."""
    if verdict is not None and verdict is not True and (told := _tell_failed(verdict)):
        name = getattr(check, "__name__", type(check).__name__)
        shown = "" if value is None else show_value(value)
        raise Unfit(f"the check {name} {told}", shown)


def _tell_failed(verdict: Any) -> str:
    """Why it is no yes; empty if it is one."""
    if isinstance(verdict, str):
        return f"says no: {redact(verdict)}" if verdict else "says no"
    if isinstance(verdict, Sized | Iterator | Awaitable):
        return f"returned a {type(verdict).__name__}, which says neither yes nor no"
    answer = verdict.as_py() if hasattr(verdict, "as_py") else verdict  # Of Arrow.
    is_nan = answer != answer  # To Python it is true.
    return "says no" if is_nan or not answer else ""
