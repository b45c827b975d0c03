"""The texts of Arrow types, from which the types are read again.

They are those that Arrow prints, but a name that is no plain word is written as JSON writes a text:
Arrow's own can't be told apart.
"""

from __future__ import annotations

import json
from typing import Any

from batten.model.patterns import pattern

UNKNOWN = "…"
"""Stands for what is not known of a type."""

_PLAIN_NAME = pattern(r"[^\W\d]\w*(?: \w+)*")
_PLAIN_ZONE = pattern(r"[A-Za-z0-9+:/_.-]+")


def show_type(kind: Any, *, is_open: bool = False) -> str:
    """The text of a type; with `is_open`, what no value has shown yet is `UNKNOWN`."""
    return _Writer(is_open).show(kind)


def show_literal(text: str) -> str:
    """The text as one of Python, in double quotes where it needs no escapes."""
    is_plain = text.isprintable() and not {'"', "\\"} & set(text)
    return f'"{text}"' if is_plain else repr(text)


class _Writer:
    def __init__(self, is_open: bool) -> None:
        self._is_open = is_open

    def show(self, kind: Any) -> str:
        text = str(kind)
        name = text.partition("<")[0].partition("[")[0]
        if self._is_open and (text == "null" or text == "struct<>"):
            return UNKNOWN if text == "null" else f"struct<{UNKNOWN}>"
        if name in ("list", "large_list", "list_view", "large_list_view"):
            return f"{name}<{self._field(kind.value_field)}>"
        if name == "fixed_size_list":
            return f"{name}<{self._field(kind.value_field)}>[{kind.list_size}]"
        if name == "struct":
            return f"{name}<{', '.join(map(self._field, kind))}>"
        if name == "map":
            return self._map(kind)
        if name == "dictionary":
            values, indices = self.show(kind.value_type), self.show(kind.index_type)
            return f"{name}<values={values}, indices={indices}, ordered={int(kind.ordered)}>"
        if name == "run_end_encoded":
            ends, values = self.show(kind.run_end_type), self.show(kind.value_type)
            return f"{name}<run_ends: {ends}, values: {values}>"
        if name in ("dense_union", "sparse_union"):
            fields = zip(kind, kind.type_codes, strict=True)
            return f"{name}<{', '.join(f'{self._field(f)}={code}' for f, code in fields)}>"
        if name == "timestamp" and kind.tz is not None and not _PLAIN_ZONE.fullmatch(kind.tz):
            return f"timestamp[{kind.unit}, tz={json.dumps(kind.tz)}]"
        return text

    def _field(self, field: Any) -> str:
        ending = "" if field.nullable else " not null"
        return f"{_show_name(field.name)}: {self.show(field.type)}{ending}"

    def _map(self, kind: Any) -> str:
        key = f"{self.show(kind.key_type)}{_show_other_name(kind.key_field.name, 'key')}"
        value = f"{self.show(kind.item_type)}{_show_other_name(kind.item_field.name, 'value')}"
        if not kind.item_field.nullable:
            value += " not null"
        return f"map<{key}, {value}{', keys_sorted' if kind.keys_sorted else ''}>"


def _show_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _show_other_name(name: str, usual: str) -> str:
    if name == usual:
        return ""
    return f" ('{name}')" if _PLAIN_NAME.fullmatch(name) else f" ({json.dumps(name)})"
