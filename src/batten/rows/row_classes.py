"""The fields of row classes: dataclasses, pydantic models, TypedDicts and named tuples.

They are given by the names and the types that rows of the class have when they are stored.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

import pyarrow as pa

from batten.model.annotations import annotated_names, returned

Fields = list[tuple[str, Any]]


def find_fields(kind: Any) -> Fields | None:
    """The names and types of the columns that rows of the class have. What says nothing of its
    type has `Any`. None for what is no class of rows, or has rows of a shape of its own."""
    if not isinstance(kind, type):
        return None
    if isinstance(getattr(kind, "model_fields", None), dict):
        return _find_fields_of_model(kind)
    if not (dataclasses.is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields")):
        return None
    try:
        hints = _find_hints(kind)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - names that are not there, whatever they were meant to be
        hints = {}
    if is_typeddict(kind):
        return [(name, hints.get(name, Any)) for name in annotated_names(kind)]
    names = getattr(kind, "_fields", None)
    if names is None:
        names = [each.name for each in dataclasses.fields(kind)]
    return [(name, hints.get(name, Any)) for name in names]


def find_root(kind: Any) -> Any:
    """What a model of pydantic that is no record but a value of this type stands for, else None."""
    if isinstance(kind, type) and getattr(kind, "__pydantic_root_model__", False):
        return getattr(kind, "model_fields")["root"].annotation  # noqa: B009 - untyped
    return None


def takes_others(kind: Any) -> bool:
    """Whether rows of the class may have columns that are no fields of it."""
    config = getattr(kind, "model_config", None)
    return isinstance(config, dict) and config.get("extra") == "allow"


def find_return(function: Any) -> Any:
    """What a function's annotation says that it returns; None where it does not."""
    while hasattr(function, "func"):
        function = function.func
    call: Any = function.__call__ if isinstance(function, type) else function
    call = call if hasattr(call, "__code__") else type(call).__call__
    call = inspect.unwrap(call)
    return _read_return(call)


def _read_return(call: Any) -> Any:
    annotation = returned(call)
    if not isinstance(annotation, str):
        return annotation
    code, cells = getattr(call, "__code__", None), getattr(call, "__closure__", None) or ()
    captured = {}
    for name, cell in zip(code.co_freevars if code is not None else (), cells, strict=False):
        try:
            captured[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet

    def stub() -> None: ...

    stub.__annotations__ = {"return": annotation}
    try:
        found = get_type_hints(stub, call.__globals__, captured, include_extras=True)
    except Exception:  # noqa: BLE001 - names that are not there, whatever they were meant to be
        return None
    return found["return"]


def holds_arrow(kind: Any) -> bool:
    """Whether the type says, somewhere within, which type of Arrow it is."""
    if isinstance(kind, pa.DataType):
        return True
    return any(map(holds_arrow, get_args(kind))) if get_origin(kind) is not None else False


def _find_hints(kind: Any) -> dict[str, Any]:
    """Without what annotations add, unless it is a type of Arrow."""
    bare, whole = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    return {name: whole[name] if holds_arrow(whole[name]) else bare[name] for name in bare}


def _find_fields_of_model(kind: Any) -> Fields | None:
    """As `model_dump` gives them: by alias where the model says so, without what is excluded, and
    with the types that serializers give."""
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if find_root(kind) is not None or getattr(decorators, "model_serializers", None):
        return None
    by_alias = kind.model_config.get("serialize_by_alias", False)
    serialized = {
        name: each
        for each in getattr(decorators, "field_serializers", {}).values()
        for name in each.info.fields
    }
    found: Fields = []
    for name, each in kind.model_fields.items():
        if each.exclude:
            continue
        column = (each.serialization_alias or each.alias or name) if by_alias else name
        whole = serialized.get(name, serialized.get("*"))
        found.append((column, _find_type(each) if whole is None else _find_made(whole)))
    for name, each in getattr(kind, "model_computed_fields", {}).items():
        found.append(((each.alias or name) if by_alias else name, each.return_type))
    return found


def _find_type(field: Any) -> Any:
    for each in field.metadata:
        if isinstance(each, pa.DataType) or getattr(each, "max_digits", None) is not None:
            return Annotated[field.annotation, each]
        if type(each).__name__ in ("PlainSerializer", "WrapSerializer"):
            return _known(each.return_type, each.func)
    return field.annotation


def _find_made(decorator: Any) -> Any:
    return _known(decorator.info.return_type, decorator.func)


def _known(declared: Any, function: Callable[..., Any]) -> Any:
    """What a serializer is said to give."""
    if type(declared).__name__ != "PydanticUndefinedType":
        return declared
    found = find_return(inspect.unwrap(function))
    return Any if found is None else found
