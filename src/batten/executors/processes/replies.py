"""What a worker answers for a task, as bytes, and how the driver reads it."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from batten.errors import FailedRunError
from batten.executors.base import Finished, Raised
from batten.printable import without_modules

FINISHED = 0
RAISED = 1


def encode_value(value: Any) -> tuple[int, bytes]:
    """Raises what pickling raises."""
    return FINISHED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def encode_error(error: Exception) -> tuple[int, bytes]:
    """An exception that does not pickle goes as its text."""
    text = without_modules("".join(traceback.format_exception_only(error)).strip())
    trace = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - the user's classes
        pickled = b""
    return RAISED, pickle.dumps((pickled, text, trace), pickle.HIGHEST_PROTOCOL)


def decode_reply(task_id: int, kind: int, payload: bytes) -> Finished | Raised:
    """Never raises: user classes that pickle but do not unpickle give `Raised` too."""
    try:
        content = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001 - the user's classes
        failure = FailedRunError(f"a result came back that cannot be unpickled: {error!r}")
        return Raised(task_id=task_id, error=failure, trace=traceback.format_exc())
    if kind == FINISHED:
        return Finished(task_id=task_id, value=content)
    pickled, text, trace = content
    return Raised(task_id=task_id, error=_load_error(pickled, text, trace), trace=trace)


def _load_error(pickled: bytes, text: str, trace: str) -> BaseException:
    try:
        error = pickle.loads(pickled)
    except Exception:  # noqa: BLE001 - the user's classes
        error = None
    return error if isinstance(error, BaseException) else FailedRunError(text, trace=trace)
