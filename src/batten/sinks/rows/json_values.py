"""Values of rows as JSON: in files, in messages, and in columns of databases."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from batten.sinks.rows.plain_values import as_seconds


def as_json(value: object) -> object:
    """What JSON has no type for: bytes as base64, times as ISO 8601, durations as seconds, other
    numbers as a text of their digits."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return as_seconds(value)
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


to_strict_json = json.JSONEncoder(ensure_ascii=False, default=as_json, allow_nan=False).encode
"""Raises `ValueError` for NaN and infinities, which JSON has not."""


def to_json(value: Any) -> str:
    """The same, with null for NaN and infinities."""
    try:
        return to_strict_json(value)
    except ValueError:
        return to_strict_json(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
