"""A value class behaves as the dataclass that its decorator stands for."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields, replace

import pytest

from batten.model.value_class import value_class


@value_class
class Size:
    """What the tests are about."""

    width: int
    height: int = 1


@value_class
class NamedSize(Size):
    name: str = ""

    def __repr__(self) -> str:
        return self.name


@value_class
class Boxes:
    sizes: list[Size] = field(default_factory=list)
    largest: Size = Size(width=9)


@value_class
class Nothing:
    pass


@dataclass(frozen=True, kw_only=True)
class Reference:
    width: int
    height: int = 1


def test_it_is_a_dataclass() -> None:
    assert [field.name for field in fields(NamedSize)] == ["width", "height", "name"]
    assert replace(Size(width=2), height=3) == Size(width=2, height=3)
    with pytest.raises(TypeError):
        Size(2)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Size()  # type: ignore[call-arg]


def test_it_is_compared_by_its_fields() -> None:
    assert Size(width=2) == Size(width=2, height=1)
    assert Size(width=2) != Size(width=3)
    assert Size(width=2) != Reference(width=2)
    assert Size(width=2) != NamedSize(width=2)
    assert len({Size(width=2), Size(width=2), Size(width=3)}) == 2
    assert pickle.loads(pickle.dumps(NamedSize(width=2, name="a"))) == NamedSize(width=2, name="a")


def test_it_is_shown_as_the_dataclass_is() -> None:
    assert repr(Size(width=2)) == repr(Reference(width=2)).replace("Reference", "Size")
    assert repr(NamedSize(width=2, name="mine")) == "mine"


def test_it_is_not_hashed_where_a_field_is_not() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Size(width=[1]))  # type: ignore[arg-type]


def test_the_type_checker_refuses_to_change_it() -> None:
    """The type checker runs over this file, and complains of an ignore that nothing needs."""
    size = Size(width=2)
    size.width = 3  # type: ignore[misc]
    assert size.width == 3


def test_what_is_not_given_is_its_default() -> None:
    assert Boxes().sizes == []
    assert Boxes().sizes is not Boxes().sizes
    assert Boxes(sizes=[Size(width=1)]).largest == Size(width=9)
    assert Nothing() == Nothing()


def test_the_first_that_is_made_may_be_a_wrong_one_or_one_of_a_subclass() -> None:
    @value_class
    class Fresh:
        width: int

    class Inner(Fresh):
        pass

    for wrong in ({}, {"width": 1, "height": 2}):
        with pytest.raises(TypeError, match=r"width|height"):
            Fresh(**wrong)
    assert Inner(width=3).width == 3
    assert Fresh(width=4).width == 4
