"""Checks that are schemas of pandera: of a row, and of the rows of a batch (decision 0104).

pandera is told by the names of its classes, so it is imported by the job alone. A schema is held
against a frame, of pandas or Polars as the schema is; what it would coerce or parse stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batten.errors import usage_error

if TYPE_CHECKING:
    import pyarrow as pa

FAULTS_SHOWN = 5
_LIBRARIES = ("pandas", "polars")


def as_check(rule: Any, *, of_batch: bool = False) -> Any:
    """A function in the place of a schema of pandera; anything else as it is. Raises `UsageError`
    for a schema of another library's frames."""
    schema = _find_schema(rule)
    if schema is None:
        return rule
    library = _find_library(schema)
    check: Callable[..., Any] = _check_table if of_batch else _check_row
    made = functools.partial(check, rule, library)
    made.__name__ = getattr(rule, "__name__", None) or getattr(schema, "name", None) or "pandera"  # type: ignore[attr-defined]
    return made


def _find_schema(rule: Any) -> Any:
    """None for what is no schema of pandera."""
    kind = rule if isinstance(rule, type) else type(rule)
    names = {each.__qualname__ for each in kind.__mro__ if each.__module__.startswith("pandera.")}
    if isinstance(rule, type):
        return rule.to_schema() if "DataFrameModel" in names else None  # type: ignore[attr-defined]
    return rule if "DataFrameSchema" in names else None


def _find_library(schema: Any) -> str:
    modules = [each.__module__ for each in type(schema).__mro__]
    found = [name for name in _LIBRARIES if any(f".{name}" in module for module in modules)]
    if not found:
        raise usage_error(
            f"A check is a {modules[0]}.{type(schema).__name__}, a schema of frames that batten "
            "can't make.",
            "Give a schema of pandera.pandas or pandera.polars, or a function.",
        )
    return found[0]


def _check_row(rule: Any, library: str, row: Any) -> str | None:
    from batten.rows.returned_rows import as_row

    if library == "polars":
        import polars

        return _validate(rule, polars.DataFrame([as_row(row)]))
    import pandas

    return _validate(rule, pandas.DataFrame([as_row(row)]))


def _check_table(rule: Any, library: str, table: pa.Table) -> str | None:
    """The key is no column of the schema, unless this names it."""
    key = table.column_names[0]
    if key not in _find_schema(rule).columns:
        table = table.drop_columns([key])
    if library == "polars":
        import polars

        return _validate(rule, polars.from_arrow(table))
    return _validate(rule, table.to_pandas())


def _validate(rule: Any, frame: Any) -> str | None:
    """Why it does not pass, or None."""
    try:
        rule.validate(frame, lazy=True)
    except Exception as error:
        faults = _list_faults(error)
        if not faults:
            raise
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        return "; ".join(faults[:FAULTS_SHOWN]) + more
    return None


def _list_faults(error: Exception) -> list[str]:
    """Those that pandera names, each column and check once; none for another error."""
    if not type(error).__module__.startswith("pandera."):
        return []
    cases: Any = getattr(error, "failure_cases", None)
    if cases is None or not hasattr(cases, "columns"):
        return [str(error).partition("\n")[0]]
    rows = cases.to_dicts() if hasattr(cases, "to_dicts") else cases.to_dict("records")
    told: dict[tuple[str, str], str] = {}
    for case in rows:
        column, check = str(case.get("column")), str(case.get("check"))
        told.setdefault((column, check), f"{column}: {check}, found {case.get('failure_case')!r}")
    return list(told.values())
