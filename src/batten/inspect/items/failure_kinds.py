"""Failures by kind: those of one exception belong together."""

from __future__ import annotations

from batten.model.patterns import pattern

_NAME_MAX = 120
_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_.]*")


def name_kind(error: str) -> str:
    """The name of the exception, or the whole first line if it names none."""
    name, colon, _ = error.partition(":")
    return name if colon and _NAME.fullmatch(name) else error.partition("\n")[0][:_NAME_MAX]
