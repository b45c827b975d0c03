"""Values as canonical text: equal text for equal content, another for any other."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import logging
import operator
import re
import sys
import threading
import types
import uuid
import zoneinfo
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest

from batten.fingerprint.functions import describe_function


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: int) -> None:
        self.x = x


class Named(NamedTuple):
    x: int


class Words(list[str]):
    pass


class Text(str):
    __slots__ = ()


def helper(x: int) -> int:
    return x


def text_of(value: object) -> str:
    """How `value` is told where a function captures it."""

    def reads(_item: object) -> object:
        return value

    parts = describe_function(reads).parts
    return next(text for name, text in parts.items() if name.startswith("captured value"))


DISTINCT: list[Callable[[], object]] = [
    lambda: None,
    lambda: True,
    lambda: 1,
    lambda: 1.0,
    lambda: -0.0,
    lambda: 0.0,
    lambda: 1j,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: 10**5000,
    lambda: 10**5000 + 1,
    lambda: "1",
    lambda: b"1",
    lambda: "None",
    lambda: "",
    lambda: "\udcff",
    lambda: "ä",
    lambda: ...,
    lambda: (),
    lambda: [],  # noqa: PIE807
    lambda: {},  # noqa: PIE807
    lambda: set(),
    lambda: frozenset(),
    lambda: bytearray(b"1"),
    lambda: (1,),
    lambda: [1],
    lambda: {1},
    lambda: frozenset([1]),
    lambda: {1: None},
    lambda: (1, 2),
    lambda: ((1, 2),),
    lambda: ((1,), 2),
    lambda: ("1, 2",),
    lambda: {"a": "b"},
    lambda: {"a: b"},
    lambda: "a" * 1000,
    lambda: "a" * 1001,
    lambda: Path("a"),
    lambda: Path("b"),
    lambda: "a",
    lambda: Color.RED,
    lambda: Color.BLUE,
    lambda: Level.LOW,
    lambda: Bits.A,
    lambda: Bits.A | Bits.B,
    lambda: Point(1),
    lambda: Point(2),
    lambda: Point(1, 2),
    lambda: Slotted(1),
    lambda: Slotted(2),
    lambda: Named(1),
    lambda: Named(2),
    lambda: Words(["a"]),
    lambda: Words(["b"]),
    lambda: Text("a"),
    lambda: datetime.date(2026, 4, 24),
    lambda: datetime.datetime(2026, 4, 24),  # noqa: DTZ001
    lambda: datetime.datetime(2026, 4, 24, tzinfo=datetime.UTC),
    lambda: datetime.datetime(2026, 4, 24, tzinfo=zoneinfo.ZoneInfo("UTC")),
    lambda: datetime.time(1),
    lambda: datetime.timedelta(1),
    lambda: datetime.UTC,
    lambda: decimal.Decimal("1.0"),
    lambda: decimal.Decimal("1.00"),
    lambda: fractions.Fraction(1, 3),
    lambda: uuid.UUID(int=1),
    lambda: ipaddress.ip_address("127.0.0.1"),
    lambda: re.compile("a"),
    lambda: re.compile("a", re.IGNORECASE),
    lambda: re.compile(b"a"),
    lambda: range(3),
    lambda: range(1, 3),
    lambda: slice(1, 2),
    lambda: array.array("i", [1]),
    lambda: array.array("l", [1]),
    lambda: collections.Counter("ab"),
    lambda: collections.deque([1]),
    lambda: collections.deque([1], 5),
    lambda: collections.OrderedDict(a=1),
    lambda: collections.defaultdict(list, a=1),
    lambda: collections.defaultdict(set, a=1),
    lambda: types.SimpleNamespace(a=1),
    lambda: types.MappingProxyType({"b": 1}),
    lambda: operator.itemgetter(1),
    lambda: operator.itemgetter(2),
    lambda: operator.attrgetter("a"),
    lambda: helper,
    lambda: functools.partial(helper, 1),
    lambda: functools.partial(helper, 2),
    lambda: len,
    lambda: str.upper,
    lambda: "a".upper,
    lambda: "b".upper,
    lambda: Point(1).__eq__,
    lambda: Point,
    lambda: int,
    lambda: list[int],
    lambda: list[str],
    lambda: int | None,
    lambda: Any,
    lambda: operator,
    lambda: sys.modules[__name__],
    lambda: logging.getLogger("a"),
    lambda: threading.Lock(),
    lambda: threading.RLock(),
    lambda: threading.local(),
    lambda: NotImplemented,
    lambda: staticmethod(helper),
    lambda: property(helper),
    lambda: collections.ChainMap,
]


def test_every_value_has_its_own_text_and_always_the_same() -> None:
    texts = [text_of(make()) for make in DISTINCT]
    assert texts == [text_of(make()) for make in DISTINCT]
    doubled = [text for text, count in collections.Counter(texts).items() if count > 1]
    assert doubled == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a", "b", "c"}, {"c", "b", "a"}),
        (Path("a/b"), PurePosixPath("a//b")),
        (float("nan"), -float("nan")),
        (logging.getLogger("a"), logging.getLogger("b")),
        (sys.stdout, sys.stdout),
    ],
)
def test_equal_content_is_equal_text(one: object, other: object) -> None:
    assert text_of(one) == text_of(other)


def test_values_that_hold_themselves_end() -> None:
    def ring(length: int) -> list[Any]:
        first: list[Any] = []
        last = first
        for _ in range(length):
            last.append([])
            last = last[0]
        last.append(first)
        return first

    assert text_of(ring(0)) == text_of(ring(0)) == "[<1 up>]"
    assert text_of(ring(1)) == "[[<2 up>]]"
    point = Point(1, [])
    point.y.append(point)
    assert text_of(point) == text_of(point)


def test_short_values_are_told_as_they_are() -> None:
    assert text_of({"b": (1, 2.5), "a": None}) == "{'a': None, 'b': (1, 2.5)}"
    assert text_of(datetime.date(2026, 4, 24)) == "datetime.date(2026-04-24)"
    assert text_of("a" * 58) == repr("a" * 58)
    assert text_of("a" * 59).startswith("sha256:")


def test_arrow_values_count_by_content() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    numbers = pyarrow.array([1, 2, 3, 4])
    makers: list[Callable[[], object]] = [
        lambda: pyarrow.array([1, 2]),
        lambda: pyarrow.array([1, None]),
        lambda: pyarrow.array([1, 2], pyarrow.int32()),
        lambda: pyarrow.table({"a": [1, 2]}),
        lambda: pyarrow.table({"b": [1, 2]}),
        lambda: pyarrow.scalar(1),
        lambda: pyarrow.int64(),
        lambda: pyarrow.string(),
        lambda: pyarrow.field("a", pyarrow.int64()),
        lambda: pyarrow.schema([("a", pyarrow.int64())]),
    ]
    texts = [text_of(make()) for make in makers]
    assert len(set(texts)) == len(texts)
    assert texts == [text_of(make()) for make in makers]
    assert text_of(numbers[:2]) == texts[0]
    chunked = pyarrow.chunked_array([[1], [2]]), pyarrow.chunked_array([[1, 2]])
    assert text_of(chunked[0]) == text_of(chunked[1])


def test_numpy_values_count_by_content() -> None:
    numpy = pytest.importorskip("numpy")
    makers: list[Callable[[], object]] = [
        lambda: numpy.arange(4),
        lambda: numpy.arange(4).reshape(2, 2),
        lambda: numpy.arange(4, dtype="float32"),
        lambda: numpy.array([1, "a"], dtype=object),
        lambda: numpy.float64(1),
        lambda: numpy.float32(1),
        lambda: numpy.dtype("int8"),
        lambda: numpy.dtype("int16"),
        lambda: numpy.add,
        lambda: numpy.multiply,
        lambda: numpy.mean,
        lambda: numpy.vectorize(helper),
    ]
    texts = [text_of(make()) for make in makers]
    assert len(set(texts)) == len(texts)
    assert texts == [text_of(make()) for make in makers]
    assert text_of(numpy.arange(8)[::2]) == text_of(numpy.array([0, 2, 4, 6]))
