"""JSON that somebody else may have written. All that is read from a file is parsed here."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_NAME_MAX = 64


def parse_json(data: bytes | str) -> Any:
    """The value of a text in JSON. Bytes are UTF-8. Raises `ValueError` for what is none, and for
    what is nested too deeply."""
    try:
        # Of bytes, json would first find out which UTF they are.
        return json.loads(data if isinstance(data, str) else data.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def find_object(data: bytes | str) -> dict[str, Any] | None:
    """The object that the text is; None if it is none."""
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def check_plain_json(text: str) -> None:
    """Raises `ValueError` for what many read and JSON has not, such as NaN; for a name that comes
    twice in an object, since nobody knows which of both values is meant; and as `parse_json`."""
    try:
        json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_doubles)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:_NAME_MAX]!r} is in one object twice.")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON.")
