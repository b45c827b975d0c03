"""What stands in a column for a value that Arrow has no type for.

Libraries of others are told by the names of their classes: none is imported that the job did not
import itself (decision 0091).
"""

from __future__ import annotations

import dataclasses
import io
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date, time
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any
from uuid import UUID

import pyarrow as pa

PLAIN = frozenset({bool, int, float, str, bytes})
STORED = PLAIN | {type(None)}

_TEXTS = (PurePath, UUID, IPv4Address, IPv6Address)
_LISTS = (list, tuple, deque, range)
_MISSING = ("NaTType", "NAType")
_PNG_PIXEL_MAX = (1 << 16) - 1
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})


def as_record(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass, a pydantic model or a named tuple; None for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        dumped = dump(value)
        return dict(dumped) if isinstance(dumped, Mapping) else None
    names = getattr(value, "_fields", None)
    if isinstance(value, tuple) and names is not None:
        return dict(zip(names, value, strict=True))
    return None


def as_plain(value: Any) -> Any:
    """What is stored for a value, also within lists and dicts. For an Enum it is its value. For a
    path, a UUID and an address it is their text. For a tuple or a set it is a list, for an array
    lists of its rows, for an image PNG, for a record a dict. For NaT and NA it is None. Raises what
    the value raises."""
    kind = type(value)
    if kind in STORED or (isinstance(value, str | bytes) and not isinstance(value, Enum)):
        return value
    if kind is list and set(map(type, value)) <= STORED:
        return value
    if isinstance(value, Enum):
        return as_plain(value.value)
    if isinstance(value, _TEXTS):
        return str(value)
    if isinstance(value, set | frozenset):
        return _in_order(_each(value))
    if isinstance(value, Mapping):
        return {name: as_plain(each) for name, each in value.items()}
    if (record := as_record(value)) is not None:
        return as_plain(record)
    if isinstance(value, _LISTS):
        return _each(value)
    if hasattr(kind, "model_dump"):
        return as_plain(value.model_dump())
    return _as_plain_of_library(value, kind)


def _as_plain_of_library(value: Any, kind: type) -> Any:
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ in _MISSING:
        return None
    if library == "pandas" and kind.__name__ in ("Timestamp", "Timedelta"):
        return _as_time(value)
    if library == "numpy":
        return _as_plain_of_numpy(value, kind)
    if library == "PIL" and hasattr(value, "save"):
        return _as_png(value)
    if isinstance(value, time) and value.tzinfo is not None:
        raise ValueError("no column holds a time of day with its zone; give it as a text")
    if hasattr(value, "unicode_string"):
        return value.unicode_string()
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return _each(value.to_pylist())
    if library == "polars" and hasattr(value, "to_list"):
        return _each(value.to_list())
    if hasattr(value, "__array__"):
        import numpy

        return as_plain(numpy.asarray(value))
    return value


def _as_plain_of_numpy(value: Any, kind: type) -> Any:
    if kind.__name__ == "bool":
        return bool(value)
    if kind.__name__ in ("datetime64", "timedelta64"):
        # A value that is no time (NaT) is not equal to itself.
        return _as_day(value) if value == value else None
    if not hasattr(value, "__len__"):
        return value  # a number
    if hasattr(value, "filled"):
        return _each(value.tolist())  # None for what is masked
    if value.ndim == 0:
        return as_plain(value[()])
    if value.ndim > 1 or value.dtype.kind in "OmM":
        return _each(value)
    return value


def _as_day(value: Any) -> Any:
    """A day of NumPy's that Python can hold is one of Python's: pyarrow takes no other."""
    held = value.item()
    return held if type(held) is date else value


def _each(values: Iterable[Any]) -> list[Any]:
    return [as_plain(value) for value in values]


def _in_order(values: list[Any]) -> list[Any]:
    """A set has another order in each process."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (type(value).__name__, repr(value)))


def _as_time(value: Any) -> Any:
    """A time or a duration of pandas as Python's; with its nanoseconds, where it has any."""
    is_time = hasattr(value, "to_pydatetime")
    if not (value.nanosecond if is_time else value.nanoseconds):
        return value.to_pydatetime() if is_time else value.to_pytimedelta()
    if not is_time:
        return pa.scalar(value.as_unit("ns").value, pa.duration("ns"))
    zone = pa.array([value.to_pydatetime(warn=False)]).type.tz
    return pa.scalar(value.as_unit("ns").value, pa.timestamp("ns", zone))


def _as_png(image: Any) -> bytes:
    if image.mode not in _PNG_MODES:
        raise ValueError(
            f"an image of mode {image.mode} can't be stored as PNG; image.convert('RGB') can"
        )
    if image.mode == "I":
        least, greatest = image.getextrema()
        if least < 0 or greatest > _PNG_PIXEL_MAX:
            raise ValueError(
                f"PNG holds no pixels below 0 or beyond {_PNG_PIXEL_MAX:,}; give it as an array"
            )
        image = image.convert("I;16")
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()
