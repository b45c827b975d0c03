"""Rows as columns: saying a type must give what Arrow would have found itself."""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batten.rows.columns_of_rows import ITEM, infer_table
from batten.rows.fit_or_unfit import build_tables, build_tables_alike
from batten.rows.fitting import Unfit

COLUMNS = {
    "integers": [1, -5, None],
    "the greatest integer": [2**63 - 1, -(2**63), None],
    "floats": [1.5, float("nan"), None],
    "integers and floats": [1, 2.5, None],
    "truths": [True, None, False],
    "texts": ["é", "", None],
    "bytes": [b"\x00", b"", None],
    "days": [datetime.date(2026, 4, 24), None, datetime.date(1900, 1, 1)],
    "lists": [[1, 2], None, []],
    "structs": [{"a": 1}, {"b": "x"}, None],
    "nothing": [None, None, None],
}


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_the_type_is_that_which_arrow_infers(values: list[object]) -> None:
    table = infer_table([{"column": value, "other": 1} for value in values])
    found, inferred = table.column("column"), pa.array(values)
    assert found.type == inferred.type
    assert str(found.to_pylist()) == str(inferred.to_pylist())


def test_columns_come_in_the_order_of_their_first_appearance() -> None:
    table = infer_table([{"b": 1, "a": 2}, {"a": 3, "c": 4}, {"c": 5, "b": 6}])
    assert table.to_pylist() == [
        {"b": 1, "a": 2, "c": None},
        {"b": None, "a": 3, "c": 4},
        {"b": 6, "a": None, "c": 5},
    ]
    assert table.column_names == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{}, {}], "a row without columns"),
        ([{"a": 1}, {7: 1}], "a column is named 7; names are texts"),
        ([{"a": 1}, {"a": "x"}], "the column 'a' holds several types: int, str"),
        ([{"a": 1}, {"a": True}], "the column 'a' holds several types: bool, int"),
        ([{"a": 2**63}], "the column 'a': "),
        ([{"a": "\udcff"}], "the column 'a': "),
    ],
)
def test_rows_that_are_no_columns_say_why(rows: list[dict[object, object]], reason: str) -> None:
    with pytest.raises(Unfit, match=f"^{reason}"):
        infer_table(rows)  # type: ignore[arg-type]


ALIKE = {
    "one type a column": [({"a": 1, "b": "x"}, 4), ({"a": 2, "b": "y"}, 2), ({"a": 3, "b": ""}, 9)],
    "other columns": [({"a": 1}, 0), ({"b": 1}, 1), ({"a": 2}, 2)],
    "another order of columns": [({"a": 1, "b": 2}, 0), ({"b": 1, "a": 2}, 1)],
    "nothing in a column": [({"a": 1}, 0), ({"a": None}, 1), ({"a": None}, 2)],
    "integers and floats": [({"a": 1}, 0), ({"a": 0.5}, 1), ({"a": 2}, 2)],
    "several rows an item": [({"a": 1}, 0), ({"a": 0.5}, 0), ({"a": 2}, 2)],
    "one beyond 64 bits": [({"a": 1}, 0), ({"a": 2**63}, 1), ({"a": 2}, 2)],
    "an empty row": [({}, 0), ({"a": 1}, 1), ({}, 2)],
    "lists": [({"a": [1]}, 0), ({"a": ["x"]}, 1), ({"a": [2]}, 2)],
}


@pytest.mark.parametrize("rows", ALIKE.values(), ids=ALIKE)
def test_rows_that_end_together_get_the_types_that_each_has_alone(
    rows: list[tuple[dict[str, object], int]],
) -> None:
    together, unfitting = build_tables_alike([row for row, _ in rows], [item for _, item in rows])
    alone = []
    wrong = []
    for wanted in dict.fromkeys(item for _, item in rows):
        own = [row for row, item in rows if item == wanted]
        tables, misfits = build_tables_alike(own, [wanted] * len(own))
        alone += tables
        wrong += misfits
    assert len({table.schema for table in together}) == len(together)
    assert {table.schema for table in together} == {table.schema for table in alone}
    assert unfitting == wrong
    for table in together:
        parts = [each for each in alone if each.schema == table.schema]
        assert table.equals(pa.concat_tables(parts))
    assert sum(len(set(table.column(ITEM).to_pylist())) for table in together) == len(
        {item for _, item in rows}
    ) - len(wrong)


BIG = 2**64 - 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.uint64(), [BIG, 1, None, 2**63]),
        (pa.uint64(), [1, 2, 3, 4]),
        (pa.decimal128(38, 0), [2**70, -(2**70), None, 1]),
        (pa.date32(), [np.datetime64("2020-01-01"), np.datetime64("20000-01-01"), None]),
        (pa.date32(), [np.datetime64("2020-01-01"), datetime.date(2020, 1, 2), None]),
        (pa.date32(), [np.datetime64("-20000-01-01"), np.datetime64("NaT", "D")]),
        (pa.timestamp("s"), [np.datetime64("20000-01-01", "s"), np.datetime64("2020-01-01", "s")]),
        (pa.list_(pa.date32()), [[np.datetime64("2020-01-01")], [np.datetime64("20000-01-01")]]),
        (pa.struct({"a": pa.date32()}), [{"a": np.datetime64("2020-01-01")}, None]),
    ],
)
def test_values_that_only_the_declared_type_can_hold(kind: pa.DataType, values: list[Any]) -> None:
    """Together and each by itself, they are the same."""
    schema = pa.schema([("a", kind)])
    tables, unfitting = build_tables(
        [{"a": each} for each in values], [*range(len(values))], schema
    )
    assert not unfitting
    apart = []
    for number, value in enumerate(values):
        (table,), unfitting = build_tables([{"a": value}], [number], schema)
        assert not unfitting
        apart.append(table)
    assert pa.concat_tables(tables).combine_chunks() == pa.concat_tables(apart).combine_chunks()
    found = pa.concat_tables(tables).column("a")
    assert found.type == kind
    assert found.null_count == sum(each is None or str(each) == "NaT" for each in values)


@pytest.mark.parametrize("value", [-1, BIG + 1])
def test_what_the_declared_type_can_not_hold_is_set_aside_alone(value: int) -> None:
    schema = pa.schema([("a", pa.uint64())])
    (table,), (unfitting,) = build_tables([{"a": BIG}, {"a": value}], [0, 1], schema)
    assert table.column("a").to_pylist() == [BIG]
    assert unfitting.item == 1
