"""A value class behaves as the dataclass that its decorator stands for."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields, replace

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
