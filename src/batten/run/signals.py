"""Signals that ask a run to stop: the first has it drain, a second ends the process at once.

A warning (SIGUSR1, SIGUSR2, SIGXCPU) has it drain as well. However many come, they end nothing at
once: schedulers send one to each process of a job, and the kernel repeats SIGXCPU each second
(decision 0055).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from batten.errors import InterruptedRunError
from batten.executors.stopping import STOPPING, WARNINGS, is_free

EXIT_INTERRUPTED = 75

LOG_SECONDS = 1.0
"""The log of a run has so long to tell of a second signal."""


class StopSignals:
    """While entered, `received` is the name of the signal that asks to stop, or None. `before_end`
    is called with the name of one that ends the process at once, in another thread.

    A signal that is ignored stays so: `nohup` outlives its terminal. So does a warning for which
    the job has a handler of its own. SIGPIPE is ignored meanwhile: who reads the log may go away.
    Outside of the main thread there are no signals to be had, and nothing is changed."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.before_end: Callable[[str], None] = lambda name: None
        self._is_asked = False
        self._is_ending = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._set(number, self._receive)
            for number in WARNINGS:
                if is_free(number):
                    self._set(number, self._receive)
            if is_free(signal.SIGPIPE):
                self._set(signal.SIGPIPE, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _set(self, number: signal.Signals, handler: Any) -> None:
        self._previous[number] = signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number in STOPPING:
            if self._is_asked:
                # Everything on disk is safe at any moment, so there is nothing to tidy up.
                name = signal.Signals(number).name
                if not self._is_ending:
                    self._is_ending = True
                    _tell_end(name)
                    self._log_end(name)
                os._exit(EXIT_INTERRUPTED)
            self._is_asked = True
        if self.received is None:
            self.received = signal.Signals(number).name

    def _log_end(self, name: str) -> None:
        """In a thread of its own: whatever this one holds, and a disk that hangs, keep nobody."""
        logging = threading.Thread(target=self.before_end, args=(name,), daemon=True)
        with suppress(RuntimeError):  # No thread can be had: the end goes untold.
            logging.start()
            logging.join(LOG_SECONDS)

    def tell_draining(self, seconds: float) -> str:
        """What the first signal has a run do, for people."""
        again = "; the same signal again stops it at once" if self._is_asked else ""
        return f"{self.received}: draining, what is in hand may take {seconds:g} s to end{again}"


@contextmanager
def stopped_while_loading() -> Iterator[None]:
    """While entered, a signal that asks to stop ends the block: it raises `InterruptedRunError`.
    For the time in which the user's code is loaded, before there is a run. What is ignored, or has
    a handler of the job's own, stays so. Warnings are left alone: a handler of C that the job sets
    for one meanwhile, as `faulthandler` does, could not be told from this one."""
    received: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        raise KeyboardInterrupt

    previous: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if is_free(number) or signal.getsignal(number) is signal.default_int_handler:
                previous[number] = signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
        if received:
            raise InterruptedRunError(
                f"Stopped by {received[0]} while the job was loaded.",
                safe="Nothing was begun, and what was finished before is kept.",
                next="Run the same command again.",
            )


def _tell_end(name: str) -> None:
    """Written past Python's streams, which may be in the middle of writing."""
    with suppress(OSError):
        clear = b"\r\x1b[2K" if os.isatty(2) else b""
        told = f"Stopped at once by a second signal, {name}. What was finished is kept; run again."
        os.write(2, clear + told.encode() + b"\n")
