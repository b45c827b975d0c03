"""Every type that batten prints is read again as the same type, whatever its fields are called."""

from __future__ import annotations

import ast
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batten.model.telling.type_names import show_literal, show_type
from batten.rows.schema import read_schema_option
from batten.rows.type_texts import read_type_text

ODD = [
    "",
    " ",
    "a: b",
    "a, b",
    '"',
    '"a"',
    "'",
    "')",
    "<",
    ">",
    "x>",
    "a: int64>",
    " not null",
    "=3",
]
ODD += [
    "a\\",
    "\n",
    "\0",
    "é",
    "日本",
    "🦇",
    "a b",
    "null",
    "struct<>",
    "tz=",
    "[",
    "](",
    "…",
    "a:b",
]

UNITS = st.sampled_from(["s", "ms", "us", "ns"])
NAMES = st.one_of(
    st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
)
ZONES = st.one_of(
    st.sampled_from(["UTC", "Europe/Berlin", "+05:30", "a]b", 'a"b', " x", "a, b", "Etc/GMT+1"]),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5
    ),
)
LEAVES = st.one_of(
    st.sampled_from(
        [
            *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64()),
            *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view()),
            *(pa.date32(), pa.month_day_nano_interval(), pa.uuid(), pa.json_(), pa.bool8()),
        ]
    ),
    st.integers(0, 100).map(pa.binary),
    st.sampled_from([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    UNITS.map(pa.duration),
    st.tuples(UNITS, st.none() | ZONES).map(lambda each: pa.timestamp(*each)),
    st.tuples(st.integers(1, 38), st.integers(-5, 20)).map(lambda each: pa.decimal128(*each)),
    st.tuples(st.integers(1, 76), st.integers(-5, 20)).map(lambda each: pa.decimal256(*each)),
)


def _fields(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.Field]:
    return st.builds(
        lambda name, kind, is_open: pa.field(name, kind, nullable=is_open or kind == pa.null()),
        *(NAMES, inner, st.booleans()),
    )


def _unions(fields: list[pa.Field], is_dense: bool) -> pa.DataType:
    codes = [3 * number + 1 for number in range(len(fields))]
    return pa.union(fields, "dense" if is_dense else "sparse", codes)


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    field = _fields(inner)
    keys = inner.filter(lambda kind: kind != pa.null())
    key = st.builds(lambda name, kind: pa.field(name, kind, nullable=False), NAMES, keys)
    indices = st.sampled_from([pa.int8(), pa.uint16(), pa.int64()])
    return st.one_of(
        *(field.map(make) for make in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)),
        st.builds(pa.list_, field, st.integers(0, 9)),
        st.lists(field, max_size=4).map(pa.struct),
        st.builds(pa.map_, key, field, st.booleans()),
        st.builds(pa.dictionary, indices, inner, st.booleans()),
        st.builds(pa.run_end_encoded, st.sampled_from([pa.int16(), pa.int32()]), inner),
        st.builds(_unions, st.lists(field, min_size=1, max_size=3), st.booleans()),
    )


TYPES = st.recursive(LEAVES, _nested, max_leaves=8)


def _is_same(one: pa.DataType, other: pa.DataType) -> bool:
    """Names of a map's fields are no part of Arrow's own comparison."""
    return bool(one.equals(other)) and show_type(one) == show_type(other)


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(kind=TYPES)
def test_every_type_that_is_printed_is_read_again(kind: pa.DataType) -> None:
    text = show_type(kind)
    assert text.isprintable()
    assert _is_same(read_type_text(text), kind), text
    # As it is pasted from a message.
    assert ast.literal_eval(show_literal(text)) == text


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(name=NAMES.filter(lambda name: name != "key"), kind=TYPES)
def test_a_message_can_be_pasted(name: str, kind: pa.DataType) -> None:
    pasted = f"{{{show_literal(name)}: {show_literal(show_type(kind))}}}"
    schema = read_schema_option(ast.literal_eval(pasted), "key")
    assert schema is not None
    assert schema.names == [name]
    assert _is_same(schema.field(0).type, kind)


@pytest.mark.parametrize("name", ["a b", "é", "x<y>", "[z]", "tz=", "not null", "it's", '"'])
def test_what_arrow_prints_is_read_too(name: str) -> None:
    kind = pa.struct([pa.field(name, pa.list_(pa.int8())), pa.field("b", pa.string())])
    assert read_type_text(str(kind)).equals(kind)


def test_plain_types_are_printed_as_arrow_does() -> None:
    for kind in (
        pa.struct(
            [pa.field("a b", pa.int8()), pa.field("é", pa.list_(pa.string()), nullable=False)]
        ),
        pa.map_(pa.string(), pa.timestamp("us", "Europe/Berlin"), keys_sorted=True),
        pa.map_(pa.string(), pa.field("items", pa.int8())),
        pa.dictionary(pa.int32(), pa.string(), ordered=True),
        pa.list_(pa.decimal128(10, -2), 3),
    ):
        assert show_type(kind) == str(kind)


def test_a_type_that_is_not_known_is_told_so_that_it_can_be_filled_in(job: Any) -> None:
    job.write("""
        def work(n):
            return {'odd "name"': {"a: b": None, "null": [1]}, "it's": 5}

        pipeline = batten.from_range(3).map(work).write_parquet("out")
    """)
    ended = job.run()
    assert ended.code == 2
    told = ended.told[-1].partition(".options(schema=")[2].rpartition(")")[0]
    given = ast.literal_eval(told.replace("…", "int8"))
    made = read_schema_option(given, "key")
    assert made is not None
    assert made.names == ['odd "name"', "it's"]
    assert made.field(0).type.names == ["a: b", "null"]
    text = (job.path / "job.py").read_text()
    options = f".options(schema={given!r}).write_parquet"
    (job.path / "job.py").write_text(text.replace(".write_parquet", options))
    assert job.run().code == 0
