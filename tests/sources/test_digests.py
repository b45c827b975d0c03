"""Digests of items without keys: the same for the same item, however it is stored."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batten.sources.identity.digests import UNKNOWN, digest_items, digest_rows, find_difference
from batten.sources.records.jsonl import JsonLinesSyntax
from batten.sources.records.text import digest_lines


@dataclasses.dataclass
class Clip:
    name: str
    tags: list[str]


def _again(text: str) -> str:
    """An equal text that is another object, as one read from a file is."""
    return "".join(list(text))


PAIRS: list[tuple[Any, Any]] = [
    ({"a": ["x", "x"]}, {"a": [_again("xy")[:1], _again("xz")[:1]]}),
    ({"a", "b", "c"}, {"c", "b", "a"}),
    (Path("a/b"), Path("a") / "b"),
    (Clip("a", ["t"]), Clip(_again("a"), [_again("t")])),
    ([Clip("a", [])] * 2, [Clip("a", []), Clip("a", [])]),
    (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),) * 2,
    (decimal.Decimal("1.50"), decimal.Decimal("1.50")),
    (uuid.UUID(int=7), uuid.UUID(int=7)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda pair: type(pair).__name__)
def test_equal_items_are_alike(one: Any, other: Any) -> None:
    assert digest_items([one]) == digest_items([other]) != UNKNOWN


def test_different_items_differ() -> None:
    items = [one for one, _ in PAIRS]
    items += [1, 1.0, True, None, "1", b"1", [], (), {}, {"a": 1, "b": 2}, Clip("b", ["t"])]
    items += [Path("a/c"), decimal.Decimal("1.5"), datetime.date(2026, 1, 1), Clip, int]
    assert len({digest_items([item]) for item in items}) == len(items)


def test_what_has_no_value_is_never_compared() -> None:
    with Path(__file__).open() as file:
        assert digest_items([file, lambda: 1]) == UNKNOWN * 2
    assert find_difference(UNKNOWN + b"b" * 8, b"a" * 8 + b"b" * 8) is None
    assert find_difference(UNKNOWN + b"b" * 8, b"a" * 8 + b"c" * 8) == 1


def test_rows_are_alike_however_they_are_stored() -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = [
        {"n": n, "x": n / 3, "t": f"é{n}", "when": now, "tags": [str(n)] * (n % 3), "m": {"k": n}}
        for n in range(50)
    ]
    rows[7] = dict.fromkeys(rows[0])
    whole = digest_rows(pa.Table.from_pylist(rows))
    table = pa.Table.from_pylist(rows)
    assert whole == b"".join(digest_rows(table.slice(n, 7)) for n in range(0, 50, 7))
    place = table.schema.get_field_index("t")
    encoded = table.set_column(place, "t", table.column("t").dictionary_encode())
    assert digest_rows(encoded) == whole
    place = table.schema.get_field_index("n")
    smaller = table.set_column(place, "n", table.column("n").cast(pa.int16()))
    assert digest_rows(smaller) == whole
    renamed = table.rename_columns(["n", "y", "t", "when", "tags", "m"])
    assert find_difference(whole, digest_rows(renamed)) == 0
    rows[20]["tags"] = ["other"]
    assert find_difference(whole, digest_rows(pa.Table.from_pylist(rows))) == 20


def test_rows_beyond_python_are_never_compared() -> None:
    far = pa.array([2**62, 5], pa.int64()).cast(pa.timestamp("s"))
    table = pa.table({"when": pa.StructArray.from_arrays([far], ["at"])})
    first, second = digest_rows(table)[:8], digest_rows(table)[8:]
    assert first == UNKNOWN != second


def test_a_last_line_that_is_being_written_is_not_known_yet() -> None:
    syntax = JsonLinesSyntax()
    whole = digest_lines([b'{"a": 1}\n', b' {"b": 2}\r\n'], syntax)
    assert digest_lines([b'{"a": 1}\n', b'{"b": 2}'], syntax) == whole
    assert digest_lines([b'{"a": 1}\n', b'{"b": '], syntax) == whole[:8] + UNKNOWN
    assert UNKNOWN not in digest_lines([b'{"b": \n', b'{"b": 2}\n'], syntax)
