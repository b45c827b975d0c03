"""Parameters of a job: texts from the command line as values of the types its function names."""

from __future__ import annotations

import datetime
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from batten.fingerprint.secret import Secret, read_parameter
from batten.model.disk.runs.job_calls import WITHHELD
from batten.model.telling.hiding import PLACEHOLDER, is_secret_name, show_parameter

_NONE = "none"
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


@dataclass(frozen=True)
class _Simple:
    """How a type is read from a text, and an example of one."""

    convert: Callable[[str], Any]
    example: str


_SIMPLE: dict[Any, _Simple] = {
    str: _Simple(str, "text"),
    int: _Simple(int, "5"),
    float: _Simple(float, "0.5"),
    bool: _Simple(_boolean, "true"),
    datetime.date: _Simple(datetime.date.fromisoformat, "2026-04-24"),
    datetime.datetime: _Simple(datetime.datetime.fromisoformat, "2026-04-24T06:00:00"),
    Path: _Simple(Path, "some/folder"),
    Decimal: _Simple(Decimal, "1.50"),
    Secret: _Simple(read_parameter, ""),
}


class BadParameters(ValueError):
    """The parameters do not fit; the text says how. `example` is a set of them that would."""

    def __init__(self, what: str, example: dict[str, str]) -> None:
        super().__init__(what)
        self.example = example


def bind_parameters(
    function: Callable[..., Any], given: Mapping[str, str]
) -> tuple[inspect.BoundArguments, dict[str, str]]:
    """The arguments to call `function` with, and all its parameters as canonical text, those that
    were left to their defaults too. Raises `BadParameters`."""
    signature = _signature(function)
    known = {
        name: each
        for name, each in signature.parameters.items()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    required = {name: each for name, each in known.items() if each.default is each.empty}

    def bad(what: str, wrong: str | None = None) -> BadParameters:
        wanted = [name for name in known if name in required or name in given]
        example = {
            name: _show_given(known[name].annotation, name, given[name])
            if name in given and name != wrong
            else _example(known[name].annotation, name)
            for name in wanted
        }
        return BadParameters(f"{what} {_listing(known)}", example)

    if unknown := [name for name in given if name not in known]:
        raise bad(f"There is no parameter {_and(unknown)}.")
    if missing := [name for name in required if name not in given]:
        raise bad(f"{_and(missing)} {'is' if len(missing) == 1 else 'are'} not given.")
    bound = signature.bind_partial()
    for name, text in given.items():
        if text == PLACEHOLDER or (text == WITHHELD and is_secret_name(name)):
            raise bad(f"{name} is {text}, which stands for a value that is not kept.", name)
        try:
            bound.arguments[name] = _convert(known[name].annotation, text)
        except (ValueError, InvalidOperation) as error:
            kind = _type_for_people(known[name].annotation)
            if _takes_secret(known[name].annotation):
                raise bad(
                    f"{name} is not the name of an environment variable that is set.", name
                ) from None
            shown = show_parameter(name, text)
            what = f"{name} is {text!r}" if shown == text else f"{name} is given"
            raise bad(f"{what}, which is not {kind}.", name) from error
        except TypeError as error:
            raise bad(f"{name} cannot be given as text: {error}.", name) from error
    bound.arguments = {name: bound.arguments[name] for name in known if name in bound.arguments}
    call = signature.bind(*bound.args, **bound.kwargs)
    call.apply_defaults()
    texts = {name: canonical_text(call.arguments[name]) for name in known}
    return bound, {name: text for name, text in texts.items() if text is not None}


def canonical_text(value: object) -> str | None:
    """The one text of a value, from which it is read again. None if there is no such text."""
    if value is None:
        return _NONE
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        texts = [canonical_text(each) for each in value]
        return None if None in texts else ",".join(text for text in texts if text is not None)
    if isinstance(value, Secret):
        return repr(value)
    return str(value) if isinstance(value, str | int | float | Decimal | Path) else None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature with annotations as types; without one a parameter is of its default's type."""
    try:
        hints = get_type_hints(function)
    except (NameError, AttributeError, TypeError) as error:
        raise BadParameters(f"Its annotations cannot be understood: {error}.", {}) from error
    signature = inspect.signature(function)
    typed = []
    for name, each in signature.parameters.items():
        default = type(each.default) if type(each.default) in _SIMPLE else str
        typed.append(each.replace(annotation=hints.get(name, default)))
    return signature.replace(parameters=typed)


def _convert(kind: Any, text: str) -> Any:
    """Raises `ValueError` for a text that is no such value, `TypeError` for a closed type."""
    if kind in _SIMPLE:
        return _SIMPLE[kind].convert(text)
    if isinstance(kind, type) and issubclass(kind, Enum):
        named = [member for name, member in kind.__members__.items() if name == text]
        valued = [member for member in kind if str(member.value) == text]
        return _first([*named, *valued], text)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _first([each for each in arguments if canonical_text(each) == text], text)
    if origin is list:
        return [_convert(arguments[0], each) for each in text.split(",")] if text else []
    if origin in (Union, types.UnionType):
        if type(None) in arguments and text.lower() == _NONE:
            return None
        return _convert_union([each for each in arguments if each is not type(None)], text)
    raise TypeError(f"its type is {inspect.formatannotation(kind)}")


def _convert_union(kinds: list[Any], text: str) -> Any:
    for kind in kinds:
        try:
            return _convert(kind, text)
        except (ValueError, InvalidOperation):
            continue
    raise ValueError(text)


def _takes_secret(kind: Any) -> bool:
    return kind is Secret or Secret in get_args(kind)


def _first(found: list[Any], text: str) -> Any:
    if not found:
        raise ValueError(text)
    return found[0]


def _show_given(kind: Any, name: str, text: str) -> str:
    """The name of a variable may be told; what was given in its place may not."""
    if _takes_secret(kind):
        try:
            return read_parameter(text).name
        except ValueError:
            return _example(kind, name)
    return show_parameter(name, text)


def _example(kind: Any, name: str) -> str:
    if _takes_secret(kind):
        return name.upper()
    if kind in _SIMPLE:
        return _SIMPLE[kind].example
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind.__members__), "")
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return canonical_text(arguments[0]) or ""
    return _example(arguments[0], name) if arguments else "…"


def _type_for_people(kind: Any) -> str:
    if kind is Secret:
        return "batten.Secret"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{kind.__name__} ({' or '.join(kind.__members__)})"
    return inspect.formatannotation(kind)


def _listing(known: Mapping[str, inspect.Parameter]) -> str:
    if not known:
        return "It takes no parameters."
    texts = []
    for name, each in known.items():
        text = None if each.default is each.empty else canonical_text(each.default)
        text = None if text is None else show_parameter(name, text)
        default = "" if each.default is each.empty else f" = {text if text is not None else '…'}"
        texts.append(f"{name}: {_type_for_people(each.annotation)}{default}")
    return f"It takes {', '.join(texts)}."


def _and(names: list[str]) -> str:
    return " and ".join(names)
