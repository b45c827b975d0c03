"""Names of outputs that differ by a run's key, and the keys that are expected.

Such a name is `out/refunds_{run_date}.csv`; keys are written `run_date=2026-04-01..2026-04-30`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from batten.errors import UsageError, usage_error
from batten.model.patterns import pattern

if TYPE_CHECKING:
    from datetime import date

_FIELD = pattern(r"\{([A-Za-z_]\w*)\}")
_WILD = pattern(r"[*?\[]")
_DAY = pattern(r"\d{4}-\d{2}-\d{2}")
_VALUES_MAX = 100_000
_DIGITS_MAX = 18


def find_fields(pattern: str) -> list[str]:
    """The names in braces, in order, each once."""
    return list(dict.fromkeys(_FIELD.findall(pattern)))


def is_pattern(path: str) -> bool:
    """Whether the path may stand for several: it has a wildcard or a name in braces."""
    return bool(_WILD.search(path) or _FIELD.search(path))


def as_wildcards(pattern: str) -> str:
    """The pattern as `glob` understands it: names in braces stand for anything."""
    return _FIELD.sub("*", pattern)


def fill_in(pattern: str, values: Mapping[str, str]) -> str:
    """The path of one run's key. Raises `UsageError` for a name in braces that has no value."""
    missing = [name for name in find_fields(pattern) if name not in values]
    if missing:
        raise usage_error(
            f"{pattern!r} names {missing[0]!r}, and no value is given for it.",
            f"Give one: {missing[0]}=…",
        )
    return _FIELD.sub(lambda match: values[match[1]], pattern)


def tells_run(pattern: str, values: Mapping[str, str]) -> bool:
    """Whether the path of one run's key is no other run's: each of the values is in it."""
    return bool(values) and values.keys() <= set(find_fields(pattern))


def list_expected(pattern: str, expectations: Sequence[str]) -> list[str]:
    """The paths that `NAME=VALUES` expects, one for each combination of values. A pattern with one
    wildcard and one expectation needs no name in braces. Raises `UsageError`."""
    parsed = dict(_parse_expectation(text) for text in expectations)
    if not parsed:
        return []
    if not find_fields(pattern) and len(parsed) == 1 and pattern.count("*") == 1:
        pattern = pattern.replace("*", f"{{{next(iter(parsed))}}}")
    unknown = [name for name in parsed if name not in find_fields(pattern)]
    if unknown or _WILD.search(pattern):
        name = unknown[0] if unknown else next(iter(parsed))
        raise usage_error(
            f"Which paths are expected is not clear from {pattern!r} and {name!r}.",
            f"Write the path with the name in braces, as in 'out/report_{{{name}}}.csv'.",
        )
    return [
        fill_in(pattern, dict(zip(parsed, values, strict=True)))
        for values in product(*parsed.values())
    ]


def list_runs_of(pattern: str, runs: Sequence[str]) -> list[dict[str, str]]:
    """The values of the pattern's names for each run: `VALUES` if it has one name, otherwise
    `NAME=VALUES`. Several are combined. Raises `UsageError` for a name without value, or without
    place."""
    names = find_fields(pattern)
    parsed = dict(
        _parse_expectation(f"{names[0]}={run}" if len(names) == 1 and "=" not in run else run)
        for run in runs
    )
    astray = [name for name in {*names, *parsed} if name not in names or name not in parsed]
    if astray:
        raise usage_error(
            f"A path and a run must name the same: {min(astray)!r} stands in one of them only.",
            "Write, for instance: --final 'out/report_{run_date}.csv' --run 2026-04-24",
        )
    return [dict(zip(parsed, values, strict=True)) for values in product(*parsed.values())]


def _parse_expectation(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not _FIELD.fullmatch(f"{{{name}}}") or not values:
        raise _bad_expectation(text)
    found = [value for piece in values.split(",") for value in _expand(piece, text)]
    return name, list(dict.fromkeys(found))


def _expand(piece: str, text: str) -> Iterable[str]:
    first, dots, last = piece.partition("..")
    if not dots:
        if _DAY.fullmatch(piece):
            _read_day(piece, text)
        return [piece]
    if first.isdecimal() and last.isdecimal() and len(last) <= _DIGITS_MAX:
        width = len(first) if first.startswith("0") else 1
        begin, end = int(first), int(last)
        _refuse_count(end - begin + 1, text)
        return [f"{number:0{width}}" for number in range(begin, end + 1)]
    from datetime import timedelta

    day, last_day = _read_day(first, text), _read_day(last, text)
    days = (last_day - day).days + 1
    _refuse_count(days, text)
    return [(day + timedelta(days=number)).isoformat() for number in range(days)]


def _refuse_count(count: int, text: str) -> None:
    if count <= 0:
        raise _bad_expectation(text, "ends before it begins")
    if count > _VALUES_MAX:
        raise _bad_expectation(text, f"names {count:,} values; {_VALUES_MAX:,} are the most")


def _read_day(day: str, text: str) -> date:
    from datetime import date

    try:
        return date.fromisoformat(day)
    except ValueError:
        problem = f"names {day}, which is no day" if _DAY.fullmatch(day) else "names no values"
        raise _bad_expectation(text, problem) from None


def _bad_expectation(text: str, problem: str = "names no values") -> UsageError:
    return usage_error(
        f"--expect {text!r} {problem}.",
        "Write days, numbers or a list: run_date=2026-04-01..2026-04-30, hour=00..23, "
        "region=eu,us.",
    )
