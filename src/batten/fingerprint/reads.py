"""What the description of a function was read from, and whether that is still the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

from batten.fingerprint.secret import Secret

_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_UNCHANGING = (
    *_PLAIN,
    PurePath,
    Secret,
    Enum,
    re.Pattern,
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
    type,
)
"""Values whose content can't change, or whose changes are noticed elsewhere."""


class Reads:
    """Remembers by identity, so that asking is quick. `is_lasting` is lost where something was read
    whose changes can't be seen so, a list for instance."""

    def __init__(self) -> None:
        self.is_lasting = True
        self._names: list[tuple[Mapping[str, Any], str, object]] = []
        self._cells: list[tuple[CellType, object]] = []
        self._functions: list[tuple[FunctionType, tuple[object, ...]]] = []
        self._classes: list[tuple[type[Any], tuple[object, ...]]] = []

    def add_name(self, names: Mapping[str, Any], name: str) -> None:
        self._names.append((names, name, names.get(name, _MISSING)))

    def add_value(self, value: object) -> None:
        if not _is_unchanging(value):
            self.is_lasting = False

    def add_function(self, function: FunctionType) -> None:
        self._functions.append((function, _parts_of(function)))
        self._cells += [(cell, _content_of(cell)) for cell in function.__closure__ or ()]

    def add_class(self, kind: type[Any]) -> None:
        self._classes.append((kind, tuple(vars(kind).values())))

    def are_unchanged(self) -> bool:
        """Whether describing again would give the same."""
        return (
            self.is_lasting
            and all(names.get(name, _MISSING) is value for names, name, value in self._names)
            and all(_content_of(cell) is value for cell, value in self._cells)
            and all(_are_same(_parts_of(each), parts) for each, parts in self._functions)
            and all(_are_same(tuple(vars(each).values()), old) for each, old in self._classes)
        )


def _is_unchanging(value: object) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_unchanging, value))  # type: ignore[call-overload]
    return isinstance(value, _UNCHANGING)


def _parts_of(function: FunctionType) -> tuple[object, ...]:
    named = function.__kwdefaults__ or {}
    return (function.__code__, *(function.__defaults__ or ()), *named, *named.values())


def _content_of(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _are_same(new: tuple[object, ...], old: tuple[object, ...]) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))
