"""What a test has happen at a step: the power is cut, or a sync fails."""

from __future__ import annotations

import errno
import os


class PowerLost(BaseException):
    """The machine is off. Not an `Exception`: no code of a dead process handles its own death."""


class CutPower:
    """An observer that cuts the power before or after the n-th step, counted from 1."""

    def __init__(self, at: int, moment: str = "before") -> None:
        self._at = at
        self._moment = moment
        self._count = 0

    def __call__(self, moment: str, step: str, name: str) -> None:
        self._count += moment == "before"
        if self._count == self._at and moment == self._moment:
            raise PowerLost(f"{moment} {step} {name}")


class FailSync:
    """An observer that fails the n-th sync of a folder, counted from 1."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.count = 0

    def __call__(self, moment: str, step: str, name: str) -> None:
        self.count += (moment, step) == ("before", "sync_names")
        if self.count == self._at and (moment, step) == ("before", "sync_names"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
