"""How a run ended, told to the workers of other machines that worked for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import batten.errors
from batten.errors import BattenError, FailedRunError, InterruptedRunError
from batten.model.json_text import find_object
from batten.model.value_class import value_class
from batten.run.context import Context
from batten.run.report import Report


@value_class
class RunEnd:
    """The end of a run that did all it could: its status, and how many items are quarantined."""

    status: str
    quarantined: int


def describe_end(report: Report) -> str:
    """For the board."""
    return json.dumps({"status": report.status, "quarantined": report.quarantined})


@contextmanager
def end_told(context: Context) -> Iterator[None]:
    """An error that ends the block is told, too. After a signal others may go on, so that is no end
    for them."""
    try:
        yield
    except BattenError as error:
        if not isinstance(error, InterruptedRunError):
            context.tell_end(describe_failure(error))
        raise


def describe_failure(error: BattenError) -> str:
    """For the board."""
    sentences = {"what": error.what, "safe": error.safe, "next": error.next}
    return json.dumps({"error": type(error).__name__, **sentences})


def read_end(ended: str) -> RunEnd:
    """What the board says. Raises the error with which the run ended."""
    told = find_object(ended) or {}
    if isinstance(told.get("status"), str):
        count = told.get("quarantined")
        return RunEnd(status=told["status"], quarantined=count if isinstance(count, int) else 0)
    what, safe, next = (str(told.get(name, "")) for name in ("what", "safe", "next"))
    kind = getattr(batten.errors, str(told.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, BattenError)):
        kind = FailedRunError
    raise kind(what or "The run ended, and did not say how.", safe=safe, next=next)
