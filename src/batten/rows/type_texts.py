"""Arrow types from the texts that batten or Arrow prints of them.

So whatever a message shows can be given back: `struct<a: int64, "b: c": list<item: string>>`,
`timestamp[us, tz=UTC]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)

_LISTS: dict[str, Callable[[pa.Field], pa.DataType]] = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "list_view": pa.list_view,
    "large_list_view": pa.large_list_view,
}

_DECIMALS: dict[str, Callable[[int, int], pa.DataType]] = {
    "decimal32": pa.decimal32,
    "decimal64": pa.decimal64,
    "decimal128": pa.decimal128,
    "decimal256": pa.decimal256,
}

_EXTENSIONS: dict[str, Callable[[], pa.DataType]] = {
    "arrow.uuid": pa.uuid,
    "arrow.json": pa.json_,
    "arrow.bool8": pa.bool8,
}


_TEXT = r'("(?:[^"\\]|\\.)*")'
_QUOTED = re.compile(rf"{_TEXT}: ")
_OTHER_QUOTED = re.compile(rf" \({_TEXT}\)")
_ZONED = re.compile(rf"\[(s|ms|us|ns), tz={_TEXT}\]")


def _as_text(quoted: str) -> str:
    """A text of JSON; where it is none, as Arrow may print a name, itself."""
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return quoted


def read_type_text(text: str) -> pa.DataType:
    """The type that Arrow prints as this text, or knows by this alias. Raises `ValueError`."""
    reader = _Reader(text.strip())
    kind = reader.read_type()
    if not reader.is_at_end:
        raise reader.fault("the end")
    return kind


class _Reader:
    """Reads a text from its start; each method takes what it is named after."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def fault(self, wanted: str) -> ValueError:
        return ValueError(f"{wanted} is missing after {self._text[: self._at]!r}")

    def read_type(self) -> pa.DataType:
        name = self._match(_NAME, "a type")
        if name in _LISTS:
            self._expect("<")
            field = self._read_field()
            self._expect(">")
            return _LISTS[name](field)
        if name in _DECIMALS:
            digits = self._match(re.compile(r"\(\s*(\d+)\s*,\s*(-?\d+)\s*\)"), "(digits, scale)")
            precision, scale = digits[1:-1].split(",")
            return _DECIMALS[name](int(precision), int(scale))
        return _NESTED.get(name, _Reader._read_plain)(self, name)

    def _read_plain(self, name: str) -> pa.DataType:
        """One that holds no other: a name, perhaps with a unit, a zone or a width."""
        inner = ""
        if name == "timestamp" and (zoned := self._take(_ZONED)):
            return pa.timestamp(zoned[1], json.loads(zoned[2]))
        if self._has("["):
            inner = self._match(re.compile(r"[^\]]*"), "what is in brackets").strip()
            self._expect("]")
        if name == "fixed_size_binary" or (name == "binary" and inner):
            return pa.binary(int(inner))
        if name == "timestamp" and "," in inner:
            unit, _, zone = inner.partition(",")
            zone = zone.strip()
            return pa.timestamp(unit.strip(), zone.removeprefix("tz=").strip())
        return pa.type_for_alias(f"{name}[{inner}]" if inner else name)

    def _read_fixed_size_list(self, _: str) -> pa.DataType:
        self._expect("<")
        field = self._read_field()
        self._expect(">[")
        size = int(self._match(re.compile(r"\d+"), "a size"))
        self._expect("]")
        return pa.list_(field, size)

    def _read_struct(self, _: str) -> pa.DataType:
        self._expect("<")
        fields: list[pa.Field] = []
        while not self._has(">"):
            if fields:
                self._expect(", ")
            fields.append(self._read_field())
        return pa.struct(fields)

    def _read_map(self, _: str) -> pa.DataType:
        self._expect("<")
        key, key_name = self.read_type(), self._read_other_name("key")
        self._expect(", ")
        value, value_name = self.read_type(), self._read_other_name("value")
        value_field = pa.field(value_name, value, nullable=not self._has(" not null"))
        is_sorted = self._has(", keys_sorted")
        self._expect(">")
        key_field = pa.field(key_name, key, nullable=False)
        return pa.map_(key_field, value_field, keys_sorted=is_sorted)

    def _read_union(self, name: str) -> pa.DataType:
        self._expect("<")
        fields: list[pa.Field] = []
        codes: list[int] = []
        while not self._has(">"):
            if fields:
                self._expect(", ")
            fields.append(self._read_field())
            self._expect("=")
            codes.append(int(self._match(re.compile(r"\d+"), "a code")))
        return pa.union(fields, name.removesuffix("_union"), codes)

    def _read_other_name(self, usual: str) -> str:
        if quoted := self._take(_OTHER_QUOTED):
            return _as_text(quoted[1])
        if not self._has(" ('"):
            return usual
        name = self._match(re.compile(r".*?(?='\))"), "a name")
        self._expect("')")
        return name

    def _read_dictionary(self, _: str) -> pa.DataType:
        self._expect("<values=")
        values = self.read_type()
        self._expect(", indices=")
        indices = self.read_type()
        self._expect(", ordered=")
        is_ordered = self._match(re.compile(r"[01]"), "0 or 1") == "1"
        self._expect(">")
        return pa.dictionary(indices, values, is_ordered)

    def _read_run_end_encoded(self, _: str) -> pa.DataType:
        self._expect("<run_ends: ")
        ends = self.read_type()
        self._expect(", values: ")
        values = self.read_type()
        self._expect(">")
        return pa.run_end_encoded(ends, values)

    def _read_extension(self, _: str) -> pa.DataType:
        self._expect("<")
        name = self._match(re.compile(r"[^<>\[\]]*"), "a name")
        if name == "arrow.fixed_shape_tensor":
            kind = self._read_tensor()
            self._expect(">")
            return kind
        if name not in _EXTENSIONS:
            raise ValueError(f"the extension type {name!r} is not known here")
        self._expect(">")
        return _EXTENSIONS[name]()

    def _read_tensor(self) -> pa.DataType:
        self._expect("[value_type=")
        value = self.read_type()
        self._expect(", shape=")
        shape = [int(size) for size in self._read_list(r"\d+")]
        order = names = None
        if self._has(", permutation="):
            order = [int(place) for place in self._read_list(r"\d+")]
        if self._has(", dim_names="):
            names = self._read_list(r"[^,\[\]]*")
        self._expect("]")
        return pa.fixed_shape_tensor(value, shape, dim_names=names, permutation=order)

    def _read_list(self, each: str) -> list[str]:
        self._expect("[")
        inner = self._match(re.compile(rf"(?:{each}(?:,{each})*)?"), "a list")
        self._expect("]")
        return inner.split(",") if inner else []

    def _read_field(self) -> pa.Field:
        if quoted := self._take(_QUOTED):
            name = _as_text(quoted[1])
        else:
            name = self._match(re.compile(r".*?(?=: )", re.DOTALL), "a name and ': '")
            self._expect(": ")
        kind = self.read_type()
        return pa.field(name, kind, nullable=not self._has(" not null"))

    def _has(self, piece: str) -> bool:
        """Takes it where it comes next."""
        if not self._text.startswith(piece, self._at):
            return False
        self._at += len(piece)
        return True

    def _expect(self, piece: str) -> None:
        if not self._has(piece):
            raise self.fault(repr(piece))

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Takes what comes next where it fits."""
        found = pattern.match(self._text, self._at)
        self._at = self._at if found is None else found.end()
        return found

    def _match(self, pattern: re.Pattern[str], wanted: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self.fault(wanted)
        self._at = found.end()
        return found[0]


_NESTED: dict[str, Any] = {
    "fixed_size_list": _Reader._read_fixed_size_list,
    "struct": _Reader._read_struct,
    "dense_union": _Reader._read_union,
    "sparse_union": _Reader._read_union,
    "map": _Reader._read_map,
    "dictionary": _Reader._read_dictionary,
    "run_end_encoded": _Reader._read_run_end_encoded,
    "extension": _Reader._read_extension,
}
