"""SIGINT and SIGTERM: the first asks the run to drain, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_INTERRUPTED = 75


class StopSignals:
    """While entered, `received` is the name of the signal that asks to stop, or None.

    A signal that is ignored stays so: `nohup` outlives its terminal. Outside of the main thread
    there are no signals to be had, and nothing is changed."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            # Everything on disk is safe at any moment, so there is nothing to tidy up.
            os._exit(EXIT_INTERRUPTED)
        self.received = signal.Signals(number).name
