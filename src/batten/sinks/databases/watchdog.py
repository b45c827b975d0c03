"""Ends the waiting for a server that hangs: a stopped server does not say that it is stopped."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Self, TypeVar

from batten.errors import BattenError

Answer = TypeVar("Answer")


def await_answer(ask: Callable[[], Answer], timeout_seconds: float) -> Answer:
    """What it gives or raises, where its connections are not ours to cut. Raises `TimeoutError`
    when there is none by then: it is left alone in a thread, and may still happen, or never."""
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="batten-call").start()
    try:
        return future.result(timeout_seconds)
    except TimeoutError as error:
        if future.done():
            raise
        raise TimeoutError(_no_answer(timeout_seconds)) from error


def _no_answer(timeout_seconds: float) -> str:
    return f"no answer in {timeout_seconds:g} s"


def advise_waiting(whose: str, error: Exception) -> str:
    """What to do about an error of the server or catalogue: it may only need longer."""
    if isinstance(error, TimeoutError):
        return f"Wait until the {whose} answers again, or give it longer by timeout_seconds=…"
    return f"Wait until the {whose} answers again"


class Watchdog:
    """Cuts the connection with that descriptor off when so much time has passed since the last
    `touch`. The descriptor itself stays its owner's."""

    def __init__(self, descriptor: int, timeout_seconds: float) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._timeout_seconds = timeout_seconds
        self._ends_at = time.monotonic() + timeout_seconds
        self._is_over = threading.Event()
        self._has_cut = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="batten-watchdog")

    def touch(self) -> None:
        self._ends_at = time.monotonic() + self._timeout_seconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raises `TimeoutError` for what was cut off: the error of it blames the server."""
        self._is_over.set()
        self._thread.join()
        self._socket.close()
        if self._has_cut and isinstance(error, Exception) and not isinstance(error, BattenError):
            raise TimeoutError(_no_answer(self._timeout_seconds)) from error

    def _watch(self) -> None:
        while not self._is_over.wait(max(0.0, self._ends_at - time.monotonic())):
            if time.monotonic() >= self._ends_at:
                self._has_cut = True
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return
