"""Looks that may fail: what can't be read is said on the page, and the rest is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from batten.errors import BattenError

Result = TypeVar("Result")
Other = TypeVar("Other")

_EXPECTED = (BattenError, OSError, ValueError, TypeError, KeyError)
"""What reading raises that finds something else than batten writes."""


class Attempts:
    """Does looks one after the other. `failed` are sentences on those that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def look(self, what: str, act: Callable[[], Result], otherwise: Other) -> Result | Other:
        """What the look gives, or what stands for nothing."""
        try:
            return act()
        except Exception as error:
            if not is_expected(error):
                raise
            told = (
                error.what if isinstance(error, BattenError) else f"{type(error).__name__}: {error}"
            )
            self.failed.append(f"{what} can't be read: {told}")
            return otherwise


def is_expected(error: Exception) -> bool:
    """Whether it comes of what lies on disk. Arrow is not imported to be asked."""
    arrow = sys.modules.get("pyarrow")
    return isinstance(error, _EXPECTED) or (
        arrow is not None and isinstance(error, arrow.ArrowException)
    )
