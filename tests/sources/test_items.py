"""Items that the job file makes itself: sequences, iterables, functions; and the range."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batten.errors import FailedRunError, UsageError
from batten.fingerprint.plain.encoding import encode_plain
from batten.sources.base import ItemsWanted, Unavailable
from batten.sources.items import PAYLOAD_BYTES_MAX, ItemSource
from batten.sources.range import RangeSource

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@dataclass
class Clip:
    """An item with attributes."""

    name: str
    frames: int = 0


@given(items=st.lists(VALUES, max_size=30), data=st.data())
def test_any_items_read_alike_however_they_are_given(
    items: list[Any], data: st.DataObject, sources: Any
) -> None:
    start = data.draw(st.integers(0, len(items)))
    stop = data.draw(st.integers(start, len(items)))
    for given_items in (items, tuple(items), deque(items), iter(items), lambda: iter(items)):
        source = ItemSource(given_items)
        plan = sources.plan(source)
        assert plan.count == len(items)
        assert sources.read_range(source.open(), plan, start, stop) == items[start:stop]


def test_sequences_are_read_by_index_and_never_pickled(sources: Any) -> None:
    items = [threading.Lock(), lambda: 1]
    source = ItemSource(items)
    assert source.count_items() == 2
    assert sources.read(source) == items


def test_keys_by_function_field_and_attribute(sources: Any) -> None:
    rows = [{"id": 3}, {"id": "x"}]
    assert sources.pairs(ItemSource(rows, key="id")) == [("3", rows[0]), ("x", rows[1])]
    assert sources.pairs(ItemSource(iter(rows), key=lambda row: row["id"]))[1][0] == "x"
    clips = [Clip("a"), Clip("//b"), Clip("\udc80")]
    assert sources.plan(ItemSource(clips, key="name")).keys == ["a", "////b", "//\\x80"]
    assert sources.plan(ItemSource([OrderedDict(id=1)], key="id")).keys == ["1"]


def test_identity_names_the_key_and_not_the_items() -> None:
    assert ItemSource([1]).identity == ItemSource([2, 3]).identity == {"source": "items"}
    assert ItemSource([1], key="id").identity["key"] == "id"
    assert ItemSource([1], key=Clip).identity["key"] == "Clip"


@pytest.mark.parametrize("items", [[{"id": 1}, {"id": None}], [{"id": 1}, {"id": True}]])
@pytest.mark.parametrize("is_list", [True, False])
def test_a_bad_key_is_refused_with_the_number(items: list[Any], is_list: bool) -> None:
    source = ItemSource(items if is_list else iter(items), key="id")
    with pytest.raises(UsageError, match="Item 2 "):
        list(source.scan())


def test_a_missing_key_is_refused_with_its_name() -> None:
    for items in ([{"id": 1}, {"other": 1}], [Clip("a"), object()]):
        key = "id" if isinstance(items[0], dict) else "name"
        with pytest.raises(UsageError, match=f"Item 2 .*'{key}'"):
            list(ItemSource(items, key=key).scan())


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ("clips/*.mp4", "str"),
        (b"bytes", "bytes"),
        ({"a": 1}, "mapping"),
        ({1, 2}, "set"),
        (frozenset(), "set"),
        (7, "int"),
        (None, "NoneType"),
    ],
)
def test_what_is_surely_a_mistake_is_refused(items: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ItemSource(items)
    with pytest.raises(UsageError, match=text):
        list(ItemSource(lambda: items).scan())


@pytest.mark.parametrize("key", ["", 7, ["id"]])
def test_a_key_that_is_neither_function_nor_name_is_refused(key: Any) -> None:
    with pytest.raises(UsageError, match="key="):
        ItemSource([1], key=key)


def test_views_of_a_mapping_are_items(sources: Any) -> None:
    pairs = {"a": 1, "b": 2}.items()
    assert sources.read(ItemSource(pairs)) == [("a", 1), ("b", 2)]


def test_an_iterator_is_scanned_once(sources: Any) -> None:
    generator = (number for number in range(3))
    source = ItemSource(generator)
    assert sources.plan(source).count == 3
    with pytest.raises(UsageError, match="once"):
        list(source.scan())


def test_a_function_that_gives_the_same_iterator_again_is_refused(sources: Any) -> None:
    generator = (number for number in range(3))
    source = ItemSource(lambda: generator)
    assert sources.plan(source).count == 3
    with pytest.raises(UsageError, match="once"):
        list(source.scan())


def test_an_iterable_that_begins_anew_is_scanned_again(sources: Any) -> None:
    source = ItemSource({"a": 1}.values())
    assert sources.plan(source) == sources.plan(source)


@pytest.mark.parametrize(
    "odd", [threading.Lock(), [Exception], {"a": Path}], ids=["lock", "class", "inner"]
)
def test_an_item_that_is_not_plain_is_refused_with_its_number(odd: object) -> None:
    with pytest.raises(UsageError, match=r"Item 2 .*can't be kept in the plan") as caught:
        list(ItemSource(iter([1, odd])).scan())
    assert "list" in caught.value.next


def failing_items() -> Iterator[int]:
    yield 1
    raise ZeroDivisionError("no more")


def test_what_the_users_code_raises_is_told_with_its_trace() -> None:
    with pytest.raises(FailedRunError, match="after 1 of them: ZeroDivisionError") as caught:
        list(ItemSource(failing_items).scan())
    assert "failing_items" in caught.value.trace
    with pytest.raises(FailedRunError, match="item 1: KeyError") as caught:
        list(ItemSource([{}], key=lambda row: row["id"]).scan())
    assert "KeyError" in caught.value.trace


def test_a_block_of_large_items_is_cut_early(sources: Any) -> None:
    plan = sources.plan(ItemSource(lambda: (b"x" * PAYLOAD_BYTES_MAX for _ in range(4))))
    assert plan.block_counts == [1, 1, 1, 1]


def test_an_item_that_moved_is_unavailable_rather_than_another(sources: Any) -> None:
    plan = sources.plan(ItemSource([{"id": "a"}, {"id": "b"}], key="id"))
    grown = ItemSource([{"id": "new"}, {"id": "a"}, {"id": "b"}], key="id")
    shown = sources.read_range(grown.open(), plan)
    assert [item[1] for item in shown] == ["SourceChanged", "SourceChanged"]
    shrunk = ItemSource([{"id": "a"}], key="id")
    shown = sources.read_range(shrunk.open(), plan)
    assert shown[0] == {"id": "a"}
    assert shown[1][1] == "IndexError"


def test_a_payload_that_cannot_be_read_is_unavailable() -> None:
    reader = ItemSource(iter([1])).open()
    wanted = ItemsWanted(first_ordinal=0, count=2, payloads=[b"\x80\x05K\x07.", encode_plain(7)])
    pickled, seven = reader.read(wanted)
    assert isinstance(pickled, Unavailable)
    assert seven == 7


def test_the_range_grows_without_changing_its_identity(sources: Any) -> None:
    assert sources.read(RangeSource(3)) == [0, 1, 2]
    assert sources.plan(RangeSource(0)).count == 0
    assert RangeSource(3).identity == RangeSource(4).identity


@pytest.mark.parametrize("n", [-1, 1.0, "7", None, True])
def test_a_range_of_no_count_is_refused(n: Any) -> None:
    with pytest.raises(UsageError, match="from_range"):
        RangeSource(n)
