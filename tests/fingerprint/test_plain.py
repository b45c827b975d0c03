"""Values come back as they were, and bytes that are none are refused, whatever they hold."""

from __future__ import annotations

import enum
import math
import pickle
import random
from collections import OrderedDict, namedtuple
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from batten.fingerprint.plain.decoding import decode_plain
from batten.fingerprint.plain.encoding import encode_plain
from batten.fingerprint.plain.letters import BadValue, NotPlain

ZONE = ZoneInfo("Europe/Vienna")
NAIVE = datetime(2026, 4, 24, 6, 8)  # noqa: DTZ001
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 255, -256, 2**63, -(2**200), 2**5000),
    *(0.0, -0.0, 1.5, math.inf, -math.inf, 1e-320, 1j, complex(-0.0, math.inf)),
    *("", "ü", "a\0b", "\udce9", "\ud800x", "x" * 100_000, b"", b"\0\xff", bytearray(b"ab")),
    *([], [1, [2, [3]]], (), (1, "a"), {}, {"b": 1, "a": [2]}, {(1, 2): {3: None}}),
    *(set(), {1, 2}, frozenset({"a"}), range(3), range(5, 1, -2)),
    *(NAIVE, datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=ZONE, fold=1)),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, timezone(timedelta(hours=-5, seconds=7), "odd")),
    *(date(2026, 4, 24), time(1, 2, 3, 4), time(23, tzinfo=UTC, fold=1)),
    *(timedelta.max, timedelta.min, UTC, timezone(timedelta(hours=2)), ZONE),
    *(Decimal("-0.10"), Decimal("1E+999999"), Decimal("sNaN12")),
    *(UUID(int=5), Path("a/b"), Path("/"), Path("caf\udce9"), PurePosixPath("x")),
    *(np.float64(1.5), np.int8(-3), np.bool_(True), np.str_("ü"), np.str_(""), np.bytes_(b"a")),
    *(np.datetime64("2026-04-24T06:08:00.000001"), np.datetime64("NaT"), np.timedelta64(5, "s")),
    *(np.float16(0.5), np.complex128(1j)),
    pa.table({"a": [1, None], "b": ["x", "y"]}),
    pa.record_batch({"a": [1.5]}),
    pa.record_batch({"a": pa.array([], pa.int8())}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    found = decode_plain(encode_plain(value))
    assert type(found) is type(value)
    if isinstance(value, pa.Table | pa.RecordBatch):
        assert found.equals(value)
        return
    assert repr(found)[:2000] == repr(value)[:2000]
    if isinstance(value, datetime):
        assert (found.fold, found.utcoffset()) == (value.fold, value.utcoffset())
    if isinstance(value, dict):
        assert list(found) == list(value)
    in_one = decode_plain(encode_plain({"all": (value, [value])}))
    assert repr(in_one)[:2000] == repr({"all": (value, [value])})[:2000]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(2, 3).T,
        np.array(5.5),
        np.zeros((0, 4), "f4"),
        np.zeros((3, 0), "i2"),
        np.array(["a", "ünf"]),
        np.array([b"", b"xy"]),
        np.array(["2026-04-24"], "M8[D]"),
        np.array([True, False]),
        np.arange(4, dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_numpy(array: Any) -> None:
    found = decode_plain(encode_plain(array))
    assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
    assert found.flags.writeable
    assert math.isnan(decode_plain(encode_plain(math.nan)))


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


@dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "a b")


class Custom(datetime):
    pass


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(Colour.RED, Number.ONE, Text("a"), Point(1), Pair(1, 2), OrderedDict(), object(), len),
        *(
            Point,
            Custom(2026, 1, 1, tzinfo=UTC),
            iter([]),
            memoryview(b""),
            nested(5000),
            lambda: 0,
        ),
        *(np.array([object()]), np.zeros(2, [("a", "i4")]), np.array([1]).view(np.recarray)),
        *(
            pa.array([1]),
            pickle.PickleBuffer(b""),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_told(value: Any) -> None:
    for each in (value, [value], {"a": value}):
        with pytest.raises(NotPlain):
            encode_plain(each)


def test_a_value_within_itself() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotPlain):
        encode_plain(value)


def test_pickles_are_no_values() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(BadValue):
            decode_plain(pickle.dumps([1], protocol))


def test_changed_bytes_are_refused_or_are_other_values(seeded: random.Random) -> None:
    """Never another error, nor anything that is much larger than the bytes."""
    encoded = [encode_plain(value) for value in VALUES if type(value) is not pa.Table]
    for _ in range(20_000):
        data = bytearray(seeded.choice(encoded)[:4000])
        for _ in range(seeded.randint(1, 4)):
            odd = [0, 1, 0xFF, seeded.randrange(256), *b"NilmstrnAW"]
            data[seeded.randrange(len(data))] = seeded.choice(odd)
        if seeded.random() < 0.2:
            del data[seeded.randrange(len(data)) :]
        with suppress(BadValue):
            decode_plain(bytes(data))


def test_a_size_beyond_the_end_takes_no_memory() -> None:
    for letter in b"ilsbamtSZW":
        with pytest.raises(BadValue):
            decode_plain(bytes([1, letter]) + b"\xff\xff\xff\xff")
