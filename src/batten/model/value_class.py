"""Values: classes of named fields that are never changed.

`@value_class` says what `@dataclass(frozen=True, kw_only=True)` says, and makes a dataclass. But
that one compiles six methods for each class, about a millisecond each time the command starts,
where an `__init__` will do: the other methods are the same for all. The type checker sees to it
that nothing is assigned to a field (decision 0025).
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value_class(kind: type[Kind]) -> type[Kind]:
    """Make a dataclass of it: fields by keyword, compared and hashed by all of them, and shown by
    those that are not declared with `repr=False`, as what may hold a secret is."""
    for method in (__eq__, __hash__, __repr__):
        if method.__name__ not in kind.__dict__:
            setattr(kind, method.__name__, method)
    made = _make_fields(kind)
    _compile_at_first_use(made)
    return made


def _make_fields(kind: type[Kind]) -> type[Kind]:
    """`dataclass` searches each annotation that is a text for three words, which takes as long as
    all else that is left to it. Only one of them is used here."""
    told: dict[str, Any] = inspect.get_annotations(kind)
    kind.__annotations__ = {
        name: told_type if "ClassVar" in str(told_type) else object
        for name, told_type in told.items()
    }
    made = dataclass(kw_only=True, eq=False, repr=False, init=False)(kind)
    made.__annotations__ = told
    for field in fields(made):  # type: ignore[arg-type]
        field.type = told.get(field.name, field.type)
    return made


def _compile_at_first_use(kind: Any) -> None:
    def __init__(self: Any, **values: Any) -> None:
        kind.__init__ = _compile_init(kind)
        kind.__init__(self, **values)

    kind.__init__ = __init__


def _compile_init(kind: Any) -> Any:
    """What `dataclass` would have made: fields by keyword, each assigned."""
    names: dict[str, Any] = {"MISSING": MISSING}
    parameters, body = [], ["pass"]
    for field in fields(kind):
        name, given = field.name, field.name
        if field.default is not MISSING:
            names[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not MISSING:
            names[f"make_{name}"] = field.default_factory
            parameters.append(f"{name}=MISSING")
            given = f"make_{name}() if {name} is MISSING else {name}"
        else:
            parameters.append(name)
        body.append(f"self.{name} = {given}")
    start = ", ".join(["self", *(["*", *parameters] if parameters else [])])
    exec(f"def __init__({start}):\n " + "\n ".join(body), names)  # names of fields alone
    return names["__init__"]


def _values(of: Any) -> tuple[object, ...]:
    return tuple(getattr(of, field.name) for field in fields(of))


def __eq__(self: Any, other: object) -> bool:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _values(self) == _values(other)


def __hash__(self: Any) -> int:
    return hash(_values(self))


def __repr__(self: Any) -> str:
    told = [field.name for field in fields(self) if field.repr]
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in told)
    return f"{self.__class__.__qualname__}({shown})"
