"""A server that tests begin, end and begin again: a process with a folder of its own.

with Broker() as broker:
    ...
    broker.crash()
    broker.start()                       # in the same folder, at the same port
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

START_SECONDS = 60.0
_ASK_SECONDS = 0.05


class OwnServer(ABC):
    """Whoever derives from it says how it starts, and whether it answers."""

    at_once = signal.SIGKILL
    """What ends it, and all that it has started, at once."""

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"batten-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Begin, after an end again, and return when it answers."""

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and return when it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def crash(self) -> None:
        """End it at once."""
        self.end(self.at_once)

    def _begin(self, command: Sequence[str], *, user: str | None = None) -> None:
        """Raises `RuntimeError` with the end of its log where it does not answer."""
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, user=user, stdout=log, stderr=log
            )
        self._wait_until(self._answers)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(round(START_SECONDS / _ASK_SECONDS)):
            if is_so():
                return
            if self._has_ended():
                break
        raise RuntimeError((self.folder / "log").read_text()[-4000:])

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it does what it is asked by now."""

    def _has_ended(self) -> bool:
        """After a moment, in which it may."""
        try:
            return self._process is None or self._process.wait(timeout=_ASK_SECONDS) is not None
        except subprocess.TimeoutExpired:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()
        shutil.rmtree(self.folder)
