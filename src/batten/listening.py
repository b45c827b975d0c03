"""What is raised by others who are told what batten does ends nothing that batten does.

They are what shows the progress, those who watch a run, and handlers of `logging` (decision 0151).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from batten.printable import escape, tell, warn


def complain(text: str) -> None:
    """A warning. Where the program makes warnings errors, it is a line on standard error: the run
    that it is about goes on."""
    try:
        warn(text, RuntimeWarning, stacklevel=4)
    except Warning:
        tell(text, sys.stderr)


_WITHOUT = "The run goes on without it."


class Listener:
    """One of those. Its first failure is told. From then on it is told nothing more, unless it
    `stays`."""

    def __init__(
        self, name: str, complain: Callable[[str], object] = complain, *, stays: bool = False
    ) -> None:
        self._name, self._complain, self._stays = name, complain, stays
        self._has_failed = False

    @property
    def is_listening(self) -> bool:
        """Whether it is told what comes."""
        return self._stays or not self._has_failed

    def tell(self, call: Callable[[], object]) -> None:
        """Tell it something. Raises nothing but what asks the program to end."""
        if not self.is_listening:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - told, and no failure of the run
            if not self._has_failed:
                self._has_failed = True
                told = f"{self._name} raised {type(error).__name__}: {error}".partition("\n")[0]
                rest = "It is told what comes later." if self._stays else _WITHOUT
                self._complain(escape(f"{told}. {rest}"))


class Log:
    """A logger of batten's. What a handler of it raises is told once; it may be a server that does
    not answer, so it is told what comes later, too."""

    def __init__(self, name: str, complain: Callable[[str], object] = complain) -> None:
        self._logger = logging.getLogger(name)
        told = f"A handler of logging.getLogger({name!r})"
        self._listener = Listener(told, complain, stays=True)

    def log(self, level: int, text: str, *arguments: object, **options: Any) -> None:
        self._listener.tell(lambda: self._logger.log(level, text, *arguments, **options))

    def warning(self, text: str, *arguments: object) -> None:
        self.log(logging.WARNING, text, *arguments)

    def debug(self, text: str, *arguments: object, **options: Any) -> None:
        self.log(logging.DEBUG, text, *arguments, **options)
