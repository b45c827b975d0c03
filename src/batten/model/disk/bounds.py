"""What a field of a record may hold, said beside the field and checked where a record is decoded.

    number: Annotated[int, Number(0, 10)]      a field
    keys: Annotated[list[Digest], Many(100)]    a list of so many at most

Nothing that is found on disk is believed: a checksum tells damage, not malice. A field within these
bounds can still be untrue. But no sum, loop or name that is made of it is absurd.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import partial
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

MEBIBYTE = 1 << 20

BATCHES_MAX = 10**7
"""Of one plan."""

ITEMS_MAX = 10**15
"""Of one plan; what is more has no number of the eighteen digits that names have."""

BYTES_MAX = 1 << 60

RECORD_BYTES_MAX = {
    "config": 16 * MEBIBYTE,
    "schema": 64 * MEBIBYTE,
    "segment": 64 * MEBIBYTE,
    "upstream": 256 * MEBIBYTE,
    "commit": 16 * MEBIBYTE,
    "rolled": 32 * MEBIBYTE,
    "completion": 64 * MEBIBYTE,
    "quarantine": 256 * MEBIBYTE,
    "delivery": 64 * MEBIBYTE,
    "files": 1024 * MEBIBYTE,
    "replacing": MEBIBYTE,
    "unsynced": 256 * MEBIBYTE,
    "journal": 256 * MEBIBYTE,
    "lock": 4096,
    "generations": 4096,
    "submission": 64 * MEBIBYTE,
    "run log": 64 * MEBIBYTE,
    "in flight": 16 * MEBIBYTE,
    "cache listing": 1024 * MEBIBYTE,
    "cache total": 16 * MEBIBYTE,
    "cache sum": 4096,
}
"""How large a file of each kind can be, in bytes. batten writes no larger record."""


class Damaged(ValueError):
    """A value out of its bounds; the text says which."""


class Number(NamedTuple):
    """From `least` to `most`, both included."""

    least: int
    most: int

    def admits(self, value: int) -> bool:
        return self.least <= value <= self.most


class Real(NamedTuple):
    """From `least` to `most`, both included; no number that is none."""

    least: float
    most: float

    def admits(self, value: float) -> bool:
        return self.least <= value <= self.most


class Text(NamedTuple):
    """At most so many characters, all of it in the form of the pattern, if there is one."""

    most: int
    pattern: str = ""

    def admits(self, value: str) -> bool:
        return len(value) <= self.most and (
            not self.pattern or re.fullmatch(self.pattern, value, re.ASCII | re.DOTALL) is not None
        )


class Many(NamedTuple):
    """A list or a dict of at most so many."""

    most: int

    def admits(self, value: list[Any] | dict[str, Any]) -> bool:
        return len(value) <= self.most


Count = Annotated[int, Number(0, ITEMS_MAX)]
Position = Annotated[int, Number(0, BATCHES_MAX)]
"""The number of a batch or a segment, and how many there are."""
Bytes = Annotated[int, Number(0, BYTES_MAX)]
Version = Annotated[int, Number(1, 10**6)]

Name = Annotated[str, Text(1 << 12)]
"""A name for people, of a run, a host, a time."""
Prose = Annotated[str, Text(MEBIBYTE)]
"""What is shown, and decides nothing."""
TokenText = Annotated[str, Text(MEBIBYTE, r"[^\ud800-\udfff]*")]
"""What a digest is taken of: valid Unicode, which a name of a file need not be."""
IN_PATHS = r"[^\0\ud800-\udc7f\udd00-\udfff]"
"""A character that a path of this machine can have. A byte that is no UTF-8 is told by one of the
other surrogates; these stand for nothing."""
PathText = Annotated[str, Text(1 << 16, f"{IN_PATHS}*")]
TargetText = Annotated[str, Text(MEBIBYTE, f"{IN_PATHS}*")]
"""A path, an address, or what else a destination calls its place."""
Hexadecimal = Annotated[str, Text(64, "[0-9a-f]{64}")]
MaybeHexadecimal = Annotated[str, Text(64, "([0-9a-f]{64})?")]
Digests = Annotated[str, Text(MEBIBYTE, "([0-9a-f]{64}(,[0-9a-f]{64})*)?")]
KeysDescription = Annotated[str, Text(80, r"(sha256:[0-9a-f]{64}|ordinals:\d{1,16}-\d{1,16})?")]
Outcomes = Annotated[str, Text(16 * MEBIBYTE, r"(\d{1,16}[cfqra])*")]
PathWithin = Annotated[
    str, Text(1 << 16, rf"(?!/)(?!.*//)(?!(.*/)?\.{{1,2}}(/|\Z)){IN_PATHS}+(?<!/)")
]
"""A relative name that leads nowhere else: no empty piece, no `.`, no `..`."""
Piece = Annotated[str, Text(255, rf"(?!\.{{1,2}}\Z)((?!/){IN_PATHS})+")]
"""One piece of a name."""
GenerationName = Annotated[str, Text(64, r"[0-9A-Za-z-]*")]

Reader = Callable[[object, str], Any]


Fields = tuple[tuple[Field[Any], Reader], ...]

_known: dict[type[Any], Fields] = {}


def fields_of(kind: type[Any]) -> Fields:
    """The fields of a record, each with what gives its value from that in JSON, or raises
    `Damaged`."""
    if kind not in _known:
        hints = get_type_hints(kind, include_extras=True)
        _known[kind] = tuple((each, make_reader(hints[each.name])) for each in fields(kind))
    return _known[kind]


def has_default(of: Field[Any]) -> bool:
    return of.default is not MISSING or of.default_factory is not MISSING


def build(kind: type[Any], value: object) -> Any:
    """The record of an object in JSON. Raises `Damaged`.

    A field with a default may be missing: an earlier batten did not write it. A record may have a
    method `find_fault` that says in which way its fields don't fit each other."""
    if not isinstance(value, dict):
        raise Damaged(f"not an object but {show(value)}")
    known = {}
    for each, reader in fields_of(kind):
        if each.name in value:
            known[each.name] = reader(value[each.name], each.name)
        elif not has_default(each):
            raise Damaged(f"the field {each.name!r} is missing")
    record = kind(**known)
    fault = record.find_fault() if hasattr(kind, "find_fault") else ""
    if fault:
        raise Damaged(fault)
    return record


def show(value: object) -> str:
    """The beginning of a value, for messages."""
    try:
        return json.dumps(value)[:40]
    except RecursionError:
        return "nested too deeply"


def make_reader(hint: Any) -> Reader:
    """What gives a value from that in JSON, by the type and bounds of a hint; it raises
    `Damaged`."""
    bounds: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        bounds = tuple(rest)
    origin = get_origin(hint)
    if origin is list:
        within = get_args(hint)[0]
        take = partial(_read_list, make_reader(within), _find_range(within))
        return _bounded(take, (list,), bounds)
    if origin is dict:
        return _bounded(partial(_read_dict, make_reader(get_args(hint)[-1])), (dict,), bounds)
    if hint in (str, int, bool):
        return _bounded(None, (hint,), bounds)
    if hint is float:
        # JSON has one kind of number, and Python writes it in two ways.
        return _bounded(None, (float, int), bounds)
    return lambda value, name: build(hint, value)


def _bounded(read: Reader | None, kinds: tuple[type, ...], bounds: tuple[Any, ...]) -> Reader:
    admissions = [each.admits for each in bounds]

    def read_bounded(value: object, name: str) -> Any:
        if type(value) not in kinds:
            raise Damaged(f"the field {name!r} is {show(value)}")
        for admits in admissions:
            if not admits(value):
                raise Damaged(f"the field {name!r} is {show(value)}")
        return value if read is None else read(value, name)

    return read_bounded


def _find_range(hint: Any) -> Number | None:
    """The bounds of a whole number, where it has no others."""
    kind, *bounds = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    is_number = kind is int and len(bounds) == 1 and isinstance(bounds[0], Number)
    return bounds[0] if is_number else None


def _read_list(inner: Reader, within: Number | None, value: Any, name: str) -> list[Any]:
    # A record may hold a number for each of a million parts: the least and the largest tell.
    if within is not None and set(map(type, value)) == {int}:
        inner(min(value), name)
        inner(max(value), name)
        return list(value)
    return [inner(each, name) for each in value]


def _read_dict(inner: Reader, value: Any, name: str) -> dict[str, Any]:
    return {key: inner(each, name) for key, each in value.items()}
