"""What goes through COPY: every type, odd texts, tables that take less than they are given."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import batten
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import RefusedError, UsageError
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.sinks.base import RejectedError
from batten.sinks.databases.postgres import PostgresSink

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)

EARLY = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC).replace(tzinfo=None)

COLUMNS: list[tuple[pa.DataType, Any, Any]] = [
    (pa.bool_(), True, True),
    (pa.uint64(), 2**64 - 1, Decimal(2**64 - 1)),
    (pa.int8(), -128, -128),
    (pa.float32(), 0.5, 0.5),
    (pa.float64(), float("inf"), float("inf")),
    (pa.decimal128(10, 2), Decimal("-12.30"), Decimal("-12.30")),
    (pa.binary(), b"\x00\\\xff,", b"\x00\\\xff,"),
    (pa.date32(), date(1969, 2, 28), date(1969, 2, 28)),
    (pa.time64("us"), time(23, 59, 59, 999999), time(23, 59, 59, 999999)),
    (pa.timestamp("us"), EARLY, EARLY),
    (
        pa.timestamp("us", "Asia/Tokyo"),
        datetime(2026, 4, 24, 6, 8, tzinfo=UTC),
        datetime(2026, 4, 24, 6, 8, tzinfo=UTC),
    ),
    (pa.duration("us"), timedelta(days=-1, microseconds=3), timedelta(days=-1, microseconds=3)),
    (pa.list_(pa.int64()), [1, None], [1, None]),
    (pa.struct([("a", pa.string())]), {"a": 'b"'}, {"a": 'b"'}),
    (pa.dictionary(pa.int32(), pa.string()), "kind", "kind"),
    (pa.large_string(), "", ""),
]


def test_every_type_comes_back(lab: Lab) -> None:
    fields = [(f"column {number}", kind) for number, (kind, _, _) in enumerate(COLUMNS)]
    schema = pa.schema([("key", pa.int64()), *fields])
    full = {name: value for (name, _), (_, value, _) in zip(fields, COLUMNS, strict=True)}
    rows = [{"key": 0, **full}, {"key": 1}]
    destination = lab.open()
    destination.prepare(schema)
    destination.publish(stage_batch(0, [0, 1], schema=schema, rows=rows))
    destination.close()
    found = lab.ask("SELECT * FROM rows ORDER BY key")
    expected = {name: value for (name, _), (_, _, value) in zip(fields, COLUMNS, strict=True)}
    assert found[0] == {"key": 0, **expected}
    assert set(found[1].values()) == {1, None}


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "\\.", "a\n\\.\nb", '"', '""', "\\N", "NULL", "a\r\nb", "\u2028ü😀", "\\x00"],
)
def test_a_text_comes_back_as_it_is(lab: Lab, text: str) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    rows = [{"key": 0, "name": text}, {"key": 1, "name": "last"}]
    destination.publish(stage_batch(0, [0, 1], rows=rows))
    destination.close()
    assert lab.read() == rows


def test_a_text_that_the_server_cannot_hold_is_told(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    staged = stage_batch(0, [0], rows=[{"key": 0, "name": "a\0b"}])
    with pytest.raises(RejectedError, match="0x00"):
        destination.publish(staged)
    assert destination.lookup([staged.token]) == [TokenState.ABSENT]
    destination.close()
    assert lab.read() == []


def test_a_table_that_takes_fewer_rows_is_told(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    lab.ask(
        "CREATE FUNCTION drop_it() RETURNS trigger AS 'BEGIN RETURN NULL; END' LANGUAGE plpgsql"
    )
    lab.ask("CREATE TRIGGER t BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION drop_it()")
    with pytest.raises(RefusedError, match="0 of 2 rows"):
        destination.publish(stage_batch(0, [0, 1]))
    lab.ask("DROP TRIGGER t ON rows")
    assert destination.publish(stage_batch(0, [0, 1])) is PublishEnd.COMMITTED
    destination.close()


def test_rows_of_others_with_the_same_key_are_told(lab: Lab) -> None:
    lab.make("key bigint PRIMARY KEY, name text")
    lab.insert(1, "theirs")
    destination = lab.open()
    destination.prepare(SCHEMA)
    with pytest.raises(RejectedError, match="duplicate key") as rejected:
        destination.publish(stage_batch(0, [0, 1]))
    destination.close()
    assert list(rejected.value.errors) == [1]
    assert lab.read() == [{"key": 1, "name": "theirs"}]


def test_a_table_in_a_schema_of_its_own(lab: Lab) -> None:
    lab.ask('CREATE SCHEMA "Odd Name"')
    destination = lab.with_table("Odd Name.Rows").open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0]))
    destination.close()
    assert lab.ask('SELECT batch FROM "Odd Name".batten_tokens') == [{"batch": 0}]
    assert lab.ask('SELECT key FROM "Odd Name"."Rows"') == [{"key": 0}]


def test_an_address_that_is_none_is_told(lab: Lab) -> None:
    made = batten.from_range(1).write_csv(lab.folder / "rows.csv")
    with pytest.raises(UsageError, match="can't be read"):
        made.write_postgres("postgresql://[::1", "rows")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@there:5433/base?sslmode=require", "base at there:5433"),
        ("host=there dbname='base' password='se cret' port=5433", "base at there:5433"),
        ("postgresql://me:secret@one:1,two:2/base", "base at one:1,two:2"),
        ("postgresql://[::1]/base", "base at [::1]:5432"),
        ("postgresql:///base?host=there&port=5433&password=secret", "base at there:5433"),
    ],
)
def test_no_secret_is_shown(lab: Lab, address: str, shown: str) -> None:
    sink = PostgresSink(address=address, table="rows")
    assert sink.describe(lab.folder) == f"table rows of {shown}"


NANOSECONDS = {
    "time": pa.timestamp("ns"),
    "zoned": pa.timestamp("ns", "UTC"),
    "hour": pa.time64("ns"),
    "span": pa.duration("ns"),
}


@pytest.mark.parametrize("kind", NANOSECONDS.values(), ids=NANOSECONDS)
@pytest.mark.parametrize("has_text_column", [False, True])
def test_what_would_be_rounded_is_told_and_whole_microseconds_are_kept(
    lab: Lab, kind: pa.DataType, has_text_column: bool
) -> None:
    """A time of another precision must not come back as another time without a word."""
    if has_text_column and not pa.types.is_timestamp(kind):
        return
    if has_text_column:
        lab.make("key bigint, name text")
    values = [1_000, 2_001, None, 3_000]

    def give(number: int) -> dict[str, Any]:
        value = values[number]
        return {"name": None if value is None else pa.scalar(value, pa.int64()).cast(kind)}

    made = batten.from_range(4).map(give, version="1").options(schema={"name": kind})
    report = lab.write(made).run(executor="serial")
    if has_text_column:
        assert report.quarantined == 0
        assert "000002001" in lab.read()[1]["name"]
        return
    assert report.quarantined == 1
    assert [row["key"] for row in lab.read()] == [0, 2, 3]
    failed = next(iter(batten.open(lab.folder / "rows").quarantined()))
    assert failed.key == "1"
    assert "the column 'name' would round" in failed.error
