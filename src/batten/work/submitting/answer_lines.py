"""What a vendor answered to the requests of a submission, line by line."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

from batten.model.disk.runs.usage_lines import UNITS_MAX, check_unit, read_amount
from batten.model.json_text import find_object
from batten.model.value_class import value_class
from batten.work.usage import AnswerUse, read_used

_NOT_DONE = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})
_TOLD_MAX = 800


class BatchLineError(Exception):
    """The vendor answered a request of a batch with a failure, or not at all.

    Attributes:
        status_code: The HTTP status of the answer; 0 if there was none.
    """

    def __init__(self, told: str, status_code: int = 0) -> None:
        super().__init__(told)
        self.status_code = status_code


@value_class
class ReadLines:
    """The best line for each request that has one; `doubled` have several that differ. `strange`
    lines are for none of these requests, or make no sense."""

    lines: Mapping[str, bytes]
    doubled: frozenset[str]
    strange: int


def read_lines(wanted: Container[str], files: Iterable[bytes]) -> ReadLines:
    """From the files that the vendor gave, in whatever order their lines are. A line that tells of
    an answer is better than one that tells of a failure; else the first is taken."""
    lines: dict[str, bytes] = {}
    good: set[str] = set()
    doubled: set[str] = set()
    strange = 0
    for data in files:
        for raw in data.split(b"\n"):
            if not raw.strip():
                continue
            line = find_object(raw)
            name = line.get("custom_id") if line is not None else None
            if line is None or not isinstance(name, str) or name not in wanted:
                strange += 1
                continue
            is_good = _find_body(line) is not None
            if name not in lines:
                lines[name] = raw
            elif _is_same(lines[name], line):
                continue
            elif is_good and name not in good:
                lines[name] = raw
            elif is_good:
                doubled.add(name)
            if is_good:
                good.add(name)
    return ReadLines(lines=lines, doubled=frozenset(doubled), strange=strange)


def _is_same(raw: bytes, other: dict[str, Any]) -> bool:
    """Whether both lines tell the same; each line may have a name of its own."""
    one = find_object(raw) or {}
    return all(one.get(name) == other.get(name) for name in ("response", "error"))


def _find_body(line: Mapping[str, Any]) -> Any:
    """What the vendor's endpoint answered; None if that is a failure."""
    response = line.get("response")
    if not isinstance(response, dict) or line.get("error"):
        return None
    status = response.get("status_code")
    is_fine = type(status) is int and 200 <= status < 300
    return response.get("body") if is_fine else None


def take_body(line: Mapping[str, Any]) -> Any:
    """What the endpoint answered. Raises `BatchLineError` where that is a failure."""
    body = _find_body(line)
    if body is not None:
        return body
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, dict) else 0
    told = error or (response.get("body") if isinstance(response, dict) else response)
    text = _tell_error(told)
    code = status if type(status) is int and 100 <= status <= 599 else 0
    raise BatchLineError(f"HTTP {code}: {text}" if code else text, code)


def is_not_done(line: Mapping[str, Any]) -> bool:
    """Whether the vendor says that it has not begun this request: the batch ended before."""
    error = line.get("error")
    return isinstance(error, dict) and error.get("code") in _NOT_DONE


def _tell_error(told: Any) -> str:
    if isinstance(told, dict) and isinstance(told.get("error"), dict | str):
        told = told["error"]
    if isinstance(told, dict):
        found = [str(told[name]) for name in ("code", "message") if told.get(name)]
        told = ": ".join(found) or json.dumps(told)
    return str(told)[:_TOLD_MAX]


def read_usage(
    line: Mapping[str, Any], usage: Callable[[Any], Mapping[str, Any]] | None
) -> AnswerUse:
    """What the answer used; nothing for a failure. Raises what `usage` raises."""
    body = _find_body(line)
    if body is None:
        return AnswerUse()
    if usage is None:
        return read_used(body)
    amounts = {check_unit(str(unit)): read_amount(value) for unit, value in usage(body).items()}
    if len(amounts) > UNITS_MAX:
        raise ValueError(f"usage gives more than {UNITS_MAX} units")
    return AnswerUse(amounts=amounts)


def join_lines(lines: Iterable[bytes]) -> bytes:
    """As they are kept."""
    return b"".join(line.strip() + b"\n" for line in lines)


def index_lines(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What `join_lines` made: the name of each request, and its line."""
    for raw in data.split(b"\n"):
        line = find_object(raw) if raw else None
        if line is not None:
            yield str(line.get("custom_id")), raw
