"""The same parts and the same quarantine, however the work was cut into chunks."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batten
from batten.drive.run import run_on
from batten.rows.columns_of_rows import ITEM, infer_table
from batten.rows.fit_or_unfit import build_tables, conform_table
from batten.rows.fitting import Unfit
from batten.rows.schema import find_unknown_columns, join_schemas
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.work import bench
from batten.work import work_sizes as pace

UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))
NO_ZONE = datetime.datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)

Row = dict[str, Any]

plain_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**30]),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=2),
)
rich_values = st.one_of(
    plain_values,
    st.sampled_from(
        [
            datetime.date(2026, 1, 1),
            NO_ZONE,
            datetime.datetime(2026, 1, 1, tzinfo=UTC),
            datetime.datetime(2026, 1, 1, tzinfo=EAST),
            datetime.timedelta(days=1),
            datetime.time(3),
            Decimal("1.5"),
            Decimal(100),
            Decimal("0.001"),
            Decimal(10) ** 40,
            "\ud800",
            object,
        ]
    ),
)
nested_values = st.recursive(
    rich_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner),
        st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    ),
    max_leaves=4,
)


@st.composite
def related_rows(draw: st.DrawFn) -> list[Row]:
    """Rows whose values are drawn from a few, so that types agree and clash at the same places."""
    pool = draw(st.lists(nested_values, min_size=1, max_size=4))
    row = st.dictionaries(st.sampled_from("ab"), st.sampled_from(pool), min_size=1)
    return draw(st.lists(row, min_size=1, max_size=5))


@pytest.fixture(scope="module", autouse=True)
def no_clock() -> Any:
    """Only the cut decides where a chunk ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "CHUNK_SECONDS", None)
        yield


def run_cut(rows: list[list[Row]], batch_size: int, items_a_task: int) -> dict[str, object] | str:
    """The parts and what is quarantined, or why the run ended."""
    storage = MemoryStorage()
    pipeline = (
        batten.from_range(len(rows))
        .flat_map(lambda item: rows[item], version="1")
        .write_parquet("out")
        .options(batch_size=batch_size)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace.Pace, "items_a_task", items_a_task)
        try:
            run_on(storage, pipeline, RunOptions(jobs=1, executor="serial"))
        except batten.UsageError as error:
            return str(error)
    found: dict[str, object] = {}
    for name, data in storage.snapshot().items():
        if data is not None and name.startswith("out/"):
            found[name] = data
        elif data is not None and name.startswith("out.batten/quarantine/"):
            rows_of = pq.read_table(pa.BufferReader(data)).to_pylist()
            found[name] = [(row["key"], row["error"], row["attempts"]) for row in rows_of]
    return found


@given(
    st.lists(
        st.lists(st.dictionaries(st.sampled_from("abc"), plain_values, max_size=3), max_size=2),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([2, 3, 100]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_gives_the_same_bytes_however_it_is_cut(
    rows: list[list[Row]], batch_size: int
) -> None:
    whole = run_cut(rows, batch_size, items_a_task=batch_size)
    assert run_cut(rows, batch_size, items_a_task=1) == whole
    assert run_cut(rows, batch_size, items_a_task=2) == whole


@given(related_rows())
@settings(max_examples=100)
def test_rows_fit_together_as_they_fit_alone(rows: list[Row]) -> None:
    try:
        schema = infer_table(rows[:1]).schema
    except Unfit:
        return
    if find_unknown_columns(schema):
        return
    alone = fit(rows, 1, schema)
    assert fit(rows, len(rows), schema) == alone
    for size in (1, 2, len(rows)):
        assert fit(rows, size, schema, is_pinned_late=True) == alone


@given(related_rows())
@settings(max_examples=100)
def test_what_the_first_rows_pin_does_not_depend_on_how_they_were_cut(rows: list[Row]) -> None:
    alone = pin(rows, 1)
    assert pin(rows, 2) == alone
    assert pin(rows, len(rows)) == alone


def fit(
    rows: list[Row], size: int, schema: pa.Schema, *, is_pinned_late: bool = False
) -> tuple[str, list[int]]:
    """The rows that fit the schema, as text so that NaN equals NaN, and the items that do not."""
    tables, unfitting = [], []
    for start in range(0, len(rows), size):
        items = range(start, min(start + size, len(rows)))
        chosen = [rows[item] for item in items]
        made, wrong = build_tables(chosen, items, None if is_pinned_late else schema)
        unfitting += wrong
        for table in made:
            fitted, wrong = conform_table(table, schema)
            tables += fitted
            unfitting += wrong
    fitted_rows = [row for table in tables for row in table.to_pylist()]
    return repr(fitted_rows), sorted(each.item for each in unfitting)


def pin(rows: list[Row], size: int) -> list[tuple[str, str]]:
    tables = []
    for start in range(0, len(rows), size):
        items = range(start, min(start + size, len(rows)))
        tables += build_tables([rows[item] for item in items], items, None)[0]
    joined = join_schemas(table.drop_columns([ITEM]).schema for table in tables)
    return [(field.name, str(field.type)) for field in joined or []]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([{"a": 1}, {"a": None, "b": None}], [], id="a new column of None is no news"),
        pytest.param([{"a": 1}, {"b": 2}], [1], id="a new column"),
        pytest.param([{"a": True}, {"a": 0}, {"a": None}], [1], id="None beside a wrong type"),
        pytest.param([{"a": 1}, {}], [1], id="a row without columns"),
        pytest.param([{"a": 1}, {"a": 2.5}, {"a": 3}], [1], id="a float among ints"),
        pytest.param([{"a": 0.5}, {"a": 2}, {"a": 2**53 + 1}], [2], id="an int no float can hold"),
        pytest.param([{"a": b"x"}, {"a": "x"}], [1], id="text among bytes"),
        pytest.param([{"a": [b"x"]}, {"a": ["x"]}], [1], id="text among bytes in lists"),
        pytest.param(
            [
                {"a": datetime.datetime(2026, 1, 1, tzinfo=UTC)},
                {"a": NO_ZONE},
                {"a": datetime.datetime(2026, 1, 1, tzinfo=EAST)},
            ],
            [1],
            id="a time without a zone is in none",
        ),
        pytest.param(
            [{"a": {"x": 1}}, {"a": {"x": None}}, {"a": {"y": 1}}], [2], id="a new inner field"
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("is_pinned_late", [False, True])
def test_which_rows_fit(
    rows: list[Row], expected: list[int], size: int, is_pinned_late: bool
) -> None:
    schema = infer_table(rows[:1]).schema
    assert fit(rows, size, schema, is_pinned_late=is_pinned_late)[1] == expected
