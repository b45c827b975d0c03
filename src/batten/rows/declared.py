"""What a job says of its columns before a row is there.

It says so by `schema=`, or by the annotation of the function that makes the rows.

A type of Python may leave something open: a `datetime` does not say whether it has a zone, a
`Decimal` not how many digits. That is settled by the first rows; all the rest stands (decision
0091).
"""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import types
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Union, get_args, get_origin

import pyarrow as pa

from batten.errors import usage_error
from batten.jobs.step import Step
from batten.model.telling.type_names import show_type
from batten.model.value_class import value_class
from batten.rows.python_types import PLAIN, read_type
from batten.rows.row_classes import (
    Fields,
    find_fields,
    find_return,
    find_root,
    holds_arrow,
    takes_others,
)
from batten.rows.schema import read_schema_option

_STREAMS = (
    *(list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection),
    *(collections.abc.Iterator, collections.abc.Generator),
    *(collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator),
)


@value_class
class Declared:
    """Columns in their order, without the key's; `open` are those whose types the first rows
    settle. With `is_whole` a row has no other columns; with `comes_last` others are before them."""

    columns: Mapping[str, pa.Field | None] = field(default_factory=dict)
    open: frozenset[str] = frozenset()
    is_whole: bool = False
    comes_last: bool = False

    @property
    def schema(self) -> pa.Schema | None:
        """All that there is to know where no row is, or None."""
        known = [each for each in self.columns.values() if each is not None]
        is_known = self.is_whole and len(known) == len(self.columns)
        return pa.schema(known) if is_known else None

    @property
    def is_settled(self) -> bool:
        """Whether no row is needed to know the schema."""
        return self.schema is not None and not self.open

    def add_to(self, there: pa.Schema) -> Declared:
        """The same, beside columns that stay as they are: what is declared of these tells
        nothing new."""
        new = {name: each for name, each in self.columns.items() if name not in there.names}
        return Declared(
            columns={**{each.name: each for each in there}, **new},
            open=self.open.difference(there.names),
            is_whole=self.is_whole,
        )

    def settle(self, found: pa.Schema) -> pa.Schema:
        """The schema of a dataset whose first rows have these columns."""
        fields = []
        for name, given in self.columns.items():
            at = found.get_field_index(name)
            if given is None:
                fields += [found.field(at)] if at >= 0 else []
            elif at >= 0 and name in self.open:
                fields.append(given.with_type(_settle(given.type, found.field(at).type)))
            else:
                fields.append(given)
        others = [] if self.is_whole else [each for each in found if each.name not in self.columns]
        return pa.schema([*others, *fields] if self.comes_last else [*fields, *others])


def find_declared(steps: Sequence[Step], option: Any, key_column: str) -> Declared:
    """By `schema=`, or else by the return annotation of the last function that makes rows. Raises
    `UsageError` for an option that is none."""
    if option is not None:
        schema = read_schema_option(option, key_column)
        kinds = dict(_list_given(option))
        left = [each.name for each in schema if _is_open(kinds.get(each.name), each.type)]
        given_columns = {each.name: each for each in schema}
        return Declared(columns=given_columns, open=frozenset(left), is_whole=True)
    making = next((step for step in reversed(steps) if step.kind not in ("filter", "check")), None)
    if making is None or making.kind == "map_batches":
        return Declared()
    kind = _find_row_class(making)
    _check_record(making)
    columns: dict[str, pa.Field | None] = {}
    opened: set[str] = set()
    given = [(name, each) for name, each in find_fields(kind) or () if name != key_column]
    for name, each in given:
        try:
            found = read_type(each)
        except (ValueError, TypeError, AttributeError, pa.ArrowException):
            columns[name] = None
        else:
            columns[name] = pa.field(name, found)
            opened |= {name} if _is_open(each, found) else set()
    return Declared(
        columns=columns,
        open=frozenset(opened),
        is_whole=bool(given) and not making.keeps_input and not takes_others(kind),
        comes_last=making.keeps_input,
    )


def find_other(declared: Declared, there: pa.Schema) -> str:
    """In which way columns that a job names by `schema=` are not those that are there, new ones
    aside; empty if they are."""
    if not declared.columns:
        return ""
    for old in there:
        now = declared.columns.get(old.name, old)
        if old.name not in declared.columns and declared.is_whole:
            return f"The column {old.name!r} is left out."
        is_settled = now is not None and old.name not in declared.open
        if now is not None and is_settled and not now.type.equals(old.type):
            was, is_now = show_type(old.type), show_type(now.type)
            return f"The column {old.name!r} is {was}, and was to become {is_now}."
    return ""


def _list_given(option: Any) -> Fields:
    if isinstance(option, pa.Schema):
        return []
    return list(option.items()) if isinstance(option, Mapping) else find_fields(option) or []


def _find_row_class(step: Step) -> Any:
    named = getattr(step.making_rows, "row_class", None)
    kind = named or _without_none(find_return(step.making_rows))
    if step.kind == "flat_map" and get_origin(kind) in _STREAMS:
        kind = _without_none(get_args(kind)[0])
    return kind


def _check_record(step: Step) -> None:
    """Raises `UsageError` where calls that are paid would give what is no row."""
    kind = getattr(step.making_rows, "row_class", None)
    if kind is None or step.keeps_input:
        return
    is_bare = find_fields(kind) == [] and not takes_others(kind)
    if is_bare or find_root(kind) is not None:
        raise usage_error(
            f"{kind.__name__} can't be a row: it has no fields that could be columns.",
            "Give the model a field for each column, or make rows of it in a .map() after it.",
        )


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        others = [each for each in get_args(kind) if each is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind


def _is_open(given: Any, kind: pa.DataType) -> bool:
    """A type of Arrow, or its text, says all."""
    return given is not None and not (isinstance(given, str) or holds_arrow(given)) and _opens(kind)


_TIME, _DECIMAL = PLAIN[datetime.datetime], PLAIN[decimal.Decimal]


def _opens(kind: pa.DataType) -> bool:
    if kind in (_TIME, _DECIMAL):
        return True
    return any(_opens(kind.field(at).type) for at in range(kind.num_fields))


def _settle(kind: pa.DataType, found: pa.DataType) -> pa.DataType:
    """The declared type with what the first rows tell of what it leaves open."""
    if pa.types.is_struct(kind) and pa.types.is_struct(found):
        fields = []
        for each in kind:
            at = found.get_field_index(each.name)
            settled = each.type if at < 0 else _settle(each.type, found.field(at).type)
            fields.append(each.with_type(settled))
        return pa.struct(fields)
    if pa.types.is_list(kind) and pa.types.is_list(found):
        return pa.list_(_settle(kind.value_type, found.value_type))
    if kind == _TIME and pa.types.is_timestamp(found):
        return pa.timestamp("ns" if found.unit == "ns" else "us", found.tz)
    if kind == _DECIMAL and pa.types.is_decimal(found):
        before = found.precision - found.scale
        fitting = pa.decimal128(38, max(_DECIMAL.scale, found.scale))
        return fitting if before + fitting.scale <= fitting.precision else found
    return kind
