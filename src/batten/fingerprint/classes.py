"""What functions and classes are made of, apart from their code."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import linecache
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import PurePath
from types import CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any

from batten.fingerprint import code
from batten.fingerprint.ownership import Namespace
from batten.model.annotations import annotated_names
from batten.model.value_class import value_class

_MACHINERY = ("_abc_impl",)
_ANNOTATING = "__annotate_func__"
"""From Python 3.14 on: a function that evaluates annotations, which are no code of the class."""
_CONTAINER_ITEMS = 1000
"""Where installed code keeps the user's functions in a container, there are not more of them."""


@value_class
class ClassDescription:
    """`text` is the code of the class without `functions`, which stand for themselves. `reads`
    are the names that its body reads."""

    text: str
    place: str
    functions: list[FunctionType]
    attributes: dict[str, Any]
    reads: list[code.NamePath]


def defaults(function: FunctionType) -> dict[str, Any]:
    """Values of arguments that have a default, by name."""
    values = function.__defaults__ or ()
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    found = dict(zip(arguments[len(arguments) - len(values) :], values, strict=True))
    return found | (function.__kwdefaults__ or {})


def captured(function: FunctionType) -> dict[str, Any]:
    """Values of the variables that the function has from the functions around it, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def held_within(value: Any) -> list[Any]:
    """What installed functions, containers and bound arguments hold on to."""
    if isinstance(value, FunctionType):
        return [getattr(value, "registry", None), *captured(value).values(), _wrapped(value)]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, dict | MappingProxyType):
        return list(itertools.islice(value.values(), _CONTAINER_ITEMS))
    if isinstance(value, list | tuple | set | frozenset):
        return list(itertools.islice(value, _CONTAINER_ITEMS))
    return [_wrapped(value)]


def _wrapped(value: Any) -> Any:
    return None if isinstance(value, type) else getattr(value, "__wrapped__", None)


def describe_class(kind: type[Any], namespace: Namespace) -> ClassDescription:
    members = {name: value for name, value in vars(kind).items() if name != _ANNOTATING}
    functions = [each for value in members.values() for each in _functions(value)]
    node, filename = _find(kind, namespace, functions)
    if node is not None or hasattr(kind, "_fields") or is_dataclass(kind):
        functions = [each for each in functions if not _is_generated(each)]
    attributes = {
        name: value
        for name, value in members.items()
        if not (name.startswith("__") and name.endswith("__"))
        and name not in _MACHINERY
        and not next(_functions(value), None)
    }
    if issubclass(kind, Enum):
        attributes = {name: member.value for name, member in kind.__members__.items()}
    if node is None:
        text = repr(("without source", annotated_names(kind), sorted(attributes)))
        return ClassDescription(
            text=text, place="", functions=functions, attributes=attributes, reads=[]
        )
    apart = [code.find_function(each.__code__, each.__globals__) for each in functions]
    return ClassDescription(
        text=code.describe_node(node, without=[each for each in apart if each is not None]),
        place=f"{PurePath(filename).name}:{node.lineno}",
        functions=functions,
        attributes=attributes,
        reads=code.read_expressions(ast.iter_child_nodes(node)),
    )


def _find(
    kind: type[Any], namespace: Namespace, functions: list[FunctionType]
) -> tuple[ast.ClassDef | None, str]:
    methods = [each for each in functions if _is_method(each.__code__, kind)]
    codes = [each.__code__ for each in methods if not _is_generated(each)]
    filename = next(
        (each.co_filename for each in codes if linecache.getlines(each.co_filename)),
        namespace.file or "",
    )
    lines = [each.co_firstlineno for each in codes]
    return code.find_class(kind.__qualname__, filename, namespace.names, lines), filename


def _is_method(own_code: CodeType, kind: type[Any]) -> bool:
    return own_code.co_qualname == f"{kind.__qualname__}.{own_code.co_name}"


def _is_generated(function: FunctionType) -> bool:
    """Made from a text, as dataclasses make `__init__`: what it is made from is described. Such a
    text is called `<string>`, as is that of `python -c`, whose lines Python 3.13 keeps."""
    innermost = inspect.unwrap(function)
    if not isinstance(innermost, FunctionType):
        return False
    own_code = innermost.__code__
    is_unnamed = own_code.co_filename.startswith("<")
    return is_unnamed and code.find_function(own_code, innermost.__globals__) is None


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions that a member of a class is made of, whatever they are wrapped in."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, staticmethod | classmethod):
        yield from _functions(value.__func__)
    elif isinstance(value, property):
        for each in (value.fget, value.fset, value.fdel):
            yield from _functions(each)
    elif isinstance(value, functools.cached_property | functools.partialmethod):
        yield from _functions(value.func)
    elif isinstance(value, functools.singledispatchmethod):
        yield from _functions(value.func)
        for each in value.dispatcher.registry.values():
            yield from _functions(each)
    elif not isinstance(value, type) and hasattr(value, "__wrapped__"):
        yield from _functions(value.__wrapped__)
