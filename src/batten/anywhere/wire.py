"""Tasks and what becomes of them, as JSON, for workers on other machines.

What a worker writes is data and never code, whoever can write there. So nothing is pickled, and a
value is only built of what its class says that it holds.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import batten.errors
from batten.errors import BattenError, FailedRunError
from batten.executors.base import Died, Event, Finished, Raised, TimedOut, Told
from batten.model.disk.bounds import has_default
from batten.model.json_text import parse_json
from batten.work.tasks import Begun, Portion, Prepare, Prepared, Waits

_ANSWERS = {kind.__name__: kind for kind in (Prepared, Portion, Begun, Waits)}
_EVENTS: dict[str, type[Finished | Told]] = {"Finished": Finished, "Told": Told}


class UnclearError(ValueError):
    """A text that says nothing that can be understood."""


def encode_task(task: Prepare) -> str:
    """All but the schema, which the board has once for all."""
    told = {"task": _plain(replace(task, schema=None)), "has_schema": task.schema is not None}
    return json.dumps(told)


def decode_task(text: str, schema: bytes | None) -> Prepare:
    """Raises `UnclearError`."""
    told = _parse(text)
    task = _read(Prepare, told.get("task"))
    if told.get("has_schema"):
        if schema is None:
            raise UnclearError("a schema that is not there")
        task = replace(task, schema=schema)
    return task  # type: ignore[no-any-return]


def encode_event(event: Finished | Raised | Died | TimedOut | Told) -> str:
    """Without the number of its task."""
    match event:
        case Died():
            told: dict[str, Any] = {"item": event.item, "cause": event.cause}
        case TimedOut():
            told = {"item": event.item, "limit_seconds": event.limit_seconds}
        case Raised():
            told = {**_describe(event.error), "trace": event.trace}
        case _:
            answer = event.value
            told = {"kind": type(answer).__name__, "value": _plain(answer)}
    return json.dumps({"event": type(event).__name__, **told})


def decode_event(task: int, text: str) -> Event:
    """Raises `UnclearError`."""
    told = _parse(text)
    name = told.get("event")
    if name == "Died":
        item = _read(int | None, told.get("item"))
        return Died(task_id=task, item=item, cause=_read(str, told.get("cause")))
    if name == "TimedOut":
        limit = _read(float, told.get("limit_seconds"))
        return TimedOut(task_id=task, item=_read(int, told.get("item")), limit_seconds=limit)
    if name == "Raised":
        trace = _read(str, told.get("trace"))
        return Raised(task_id=task, error=_raise_again(told, trace), trace=trace)
    if name not in _EVENTS or told.get("kind") not in _ANSWERS:
        raise UnclearError(f"an event of the kind {name!r}")
    value = _read(_ANSWERS[told["kind"]], told.get("value"))
    return _EVENTS[name](task_id=task, value=value)


def encode_schema(schema: bytes | None) -> str:
    """For the board; empty if there is none."""
    return base64.b64encode(schema).decode() if schema is not None else ""


def decode_schema(text: str) -> bytes | None:
    """Raises `UnclearError`."""
    return _read(bytes, text) if text else None


def _parse(text: str) -> dict[str, Any]:
    try:
        told = parse_json(text)
    except ValueError as error:
        raise UnclearError(str(error)) from error
    if not isinstance(told, dict):
        raise UnclearError("no object")
    return told


def _describe(error: BaseException) -> dict[str, str]:
    if isinstance(error, BattenError):
        told = {"what": error.what, "safe": error.safe, "next": error.next}
        return {"error": type(error).__name__, **told}
    return {"error": "", "what": f"{type(error).__name__}: {error}", "safe": "", "next": ""}


def _raise_again(told: dict[str, Any], trace: str) -> BattenError:
    what, safe, next = (_read(str, told.get(name)) for name in ("what", "safe", "next"))
    kind = getattr(batten.errors, str(told.get("error")) or "-", None)
    if isinstance(kind, type) and issubclass(kind, BattenError):
        return kind(what, safe=safe, next=next)
    kept = "What was committed before is untouched, and finished work is kept."
    return FailedRunError(what, safe=kept, next="Mend the cause, and run it again.", trace=trace)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@cache
def _hints_of(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any) -> Any:
    """The value that a hint allows. Raises `UnclearError`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        hint = next(each for each in arguments if each is not NoneType)
        return _read(hint, value)
    if origin is tuple:
        return _read_tuple(arguments, value)
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnclearError("bytes that are none") from error
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    if is_dataclass(hint) and isinstance(value, dict):
        return _read_fields(hint, value)
    raise UnclearError(f"{str(value)[:40]!r} where {hint} should be")


def _read_tuple(arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UnclearError("no list")
    if arguments[-1] is Ellipsis:
        return tuple(_read(arguments[0], each) for each in value)
    if len(value) != len(arguments):
        raise UnclearError("a list of another length")
    return tuple(_read(hint, each) for hint, each in zip(arguments, value, strict=True))


def _read_fields(kind: Any, value: dict[str, Any]) -> Any:
    found = {}
    for each in fields(kind):
        if each.name in value:
            found[each.name] = _read(_hints_of(kind)[each.name], value[each.name])
        elif not has_default(each):
            raise UnclearError(f"the field {each.name!r} is missing")
    return kind(**found)
