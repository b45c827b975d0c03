"""One of a step's own workers: it constructs the class once, and takes calls until it is ended."""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from batten.executors.base import Mark
from batten.jobs.devices import Worker
from batten.model.value_class import value_class
from batten.work.calling.calls import Call
from batten.work.own_workers.asking import AskedCall, CallRaised, CallReturned
from batten.work.own_workers.lane import accept, receive, send
from batten.work.tasks import Served
from batten.work.usage import Teller


@value_class
class Serve:
    """Take the calls of a step, at a socket with this handle. `number` is that of the step,
    `serving` of this task. `environment` holds before the class is constructed, and before the job
    is loaded in a fresh interpreter."""

    serving: int
    number: int
    handle: int
    worker: Worker
    environment: Mapping[str, str]

    def enter(self) -> None:
        """Have this process see its device alone."""
        os.environ.update(self.environment)


def serve(task: Serve, call: Call, teller: Teller, mark: Mark, items_max: int | None) -> Served:
    """Until this process is ended, or so many calls are done."""
    listener = socket.socket(fileno=task.handle)
    served = 0
    while items_max is None or served < items_max:
        connection = accept(listener)
        if connection is None:
            continue
        # If who asked has ended meanwhile, nobody wants the answer.
        with connection, suppress(EOFError, OSError):
            send(connection, task.serving)
            _, payload = receive(connection)
            served += 1
            send(connection, task.serving, _answer(payload, call, teller, mark))
    mark.retire()
    return Served()


def _answer(payload: bytes, call: Call, teller: Teller, mark: Mark) -> bytes:
    try:
        made = CallReturned(value=_run(payload, call, teller, mark))
        return pickle.dumps(made, pickle.HIGHEST_PROTOCOL)
    # As in `Call`: extensions in Rust panic with what is no `Exception`.
    except BaseException as error:  # noqa: BLE001 - raised again by who asked
        return pickle.dumps(_tell_raised(error), pickle.HIGHEST_PROTOCOL)
    finally:
        mark.end()


def _run(payload: bytes, call: Call, teller: Teller, mark: Mark) -> Any:
    request: AskedCall = pickle.loads(payload)
    teller.take_up(request.item, request.attempt)
    call.begin_try = partial(mark.begin, request.item)
    if request.seeded is not None:
        call.seed(*request.seeded)
    with teller.working():
        return call.try_once(*request.given)


def _tell_raised(error: BaseException) -> CallRaised:
    sent: BaseException | None = error
    try:
        pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL))
    except Exception:  # noqa: BLE001 - the user's classes
        sent = None
    kind = type(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's classes
        text = "<its text can't be made>"
    return CallRaised(
        error=sent,
        module=kind.__module__,
        name=kind.__qualname__,
        text=text,
        trace="".join(traceback.format_exception(error)),
    )
