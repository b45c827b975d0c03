"""Schemas of Avro for the columns of rows.

What may be null is a union with null, so that a column can be added later. Names of records and of
fixed sizes are those of the columns that lead there: `batten.Row.address`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batten.model.telling.type_names import show_type

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TIMES = {"s": "millis", "ms": "millis", "us": "micros", "ns": "nanos"}
ELEMENT, KEY, VALUE = "element", "key", "value"
"""What a list, and a map whose keys are no texts, call what they hold."""


class UnfitColumnError(Exception):
    """A column that Avro can't have. `remedy` is what to do with it."""

    def __init__(self, column: str, why: str, remedy: str) -> None:
        super().__init__(f"column {column!r} {why}")
        self.remedy = remedy


def make_schema(schema: pa.Schema, name: str) -> dict[str, Any]:
    """That of a row, which is a record of this name. Raises `UnfitColumnError`."""
    return _make_record(list(schema), (name,), "")


def _make_record(fields: list[pa.Field], path: tuple[str, ...], column: str) -> dict[str, Any]:
    made = []
    for field in fields:
        inner = f"{column}.{field.name}" if column else field.name
        if not _NAME.fullmatch(field.name):
            raise UnfitColumnError(
                inner,
                "has a name that Avro does not allow: letters of ASCII, digits and '_', and no "
                "digit first",
                "Give it another name",
            )
        kind = _make_field(field, (*path, field.name), inner)
        # With a default, readers of an older schema and of a newer one understand each other.
        default = {"default": None} if kind == "null" or isinstance(kind, list) else {}
        made.append({"name": field.name, "type": kind, **default})
    names = [each["name"] for each in made]
    if twice := [each for each in names if names.count(each) > 1]:
        raise UnfitColumnError(twice[0], "is there twice", "Give one of them another name")
    return {"type": "record", "name": ".".join(path), "fields": made}


def _make_field(field: pa.Field, path: tuple[str, ...], column: str) -> Any:
    kind = make_type(field.type, path, column)
    return ["null", kind] if field.nullable and kind != "null" else kind


def make_type(kind: pa.DataType, path: tuple[str, ...], column: str) -> Any:
    """What values of this type are. Raises `UnfitColumnError`."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.FixedShapeTensorType):
        made = make_type(kind.value_type, path, column)
        for _ in kind.shape:
            made = {"type": "array", "items": ["null", made]}
        return made
    if isinstance(kind, pa.BaseExtensionType):
        return make_type(kind.storage_type, path, column)
    if types.is_dictionary(kind):
        return make_type(kind.value_type, path, column)
    if types.is_struct(kind):
        return _make_record([kind.field(each) for each in range(kind.num_fields)], path, column)
    if types.is_map(kind):
        return _make_map(kind, path, column)
    if _is_list(kind):
        element = _make_field(kind.value_field, (*path, ELEMENT), column)
        return {"type": "array", "items": element}
    return _make_simple(kind, path, column)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _make_map(kind: pa.MapType, path: tuple[str, ...], column: str) -> Any:
    values = _make_field(kind.item_field, (*path, VALUE), column)
    if has_text_keys(kind):
        return {"type": "map", "values": values}
    keys = make_type(kind.key_type, (*path, KEY), column)
    fields = [{"name": KEY, "type": keys}, {"name": VALUE, "type": values}]
    pair = {"type": "record", "name": ".".join((*path, ELEMENT)), "fields": fields}
    return {"type": "array", "items": pair}


def has_text_keys(kind: pa.MapType) -> bool:
    """Whether it is a map for Avro, too."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind.key_type) or pa.types.is_large_string(kind.key_type))


def _make_simple(kind: pa.DataType, path: tuple[str, ...], column: str) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_fixed_size_binary(kind):
        return {"type": "fixed", "name": ".".join(path), "size": kind.byte_width}
    if types.is_decimal(kind):
        parameters = {"precision": kind.precision, "scale": kind.scale}
        return {"type": "bytes", "logicalType": "decimal", **parameters}
    if types.is_timestamp(kind):
        zone = "" if kind.tz is not None else "local-"
        return {"type": "long", "logicalType": f"{zone}timestamp-{_TIMES[kind.unit]}"}
    if types.is_date(kind):
        return {"type": "int", "logicalType": "date"}
    if types.is_time32(kind):
        return {"type": "int", "logicalType": "time-millis"}
    if types.is_time64(kind) and kind.unit == "us":
        return {"type": "long", "logicalType": "time-micros"}
    for name, tests in _SIMPLE.items():
        if any(getattr(types, test)(kind) for test in tests):
            return name
    raise UnfitColumnError(
        column, f"is {show_type(kind)}, and Avro has nothing like it", _remedy(kind)
    )


def _remedy(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_duration(kind):
        return "Write it as a number, such as seconds"
    return "Write it as another type, such as a text"


_SIMPLE = {
    "null": ["is_null"],
    "boolean": ["is_boolean"],
    "int": ["is_int8", "is_int16", "is_int32", "is_uint8", "is_uint16"],
    "long": ["is_int64", "is_uint32"],
    "float": ["is_float16", "is_float32"],
    "double": ["is_float64"],
    "string": ["is_string", "is_large_string", "is_string_view"],
    "bytes": ["is_binary", "is_large_binary", "is_binary_view"],
}
"""Types of Avro that need no more than a name, and what says that a type of Arrow is one."""
