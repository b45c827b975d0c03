"""Regular expressions that are compiled when they are first used.

A command that starts needs few of those that its modules name. To compile all would take it longer
than to read a large dataset.
"""

from __future__ import annotations

import re
from typing import Any, cast


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` gives, made when it is first asked for anything."""
    return cast("re.Pattern[str]", _Pattern(text, flags))


class _Pattern:
    def __init__(self, text: str, flags: int) -> None:
        self.pattern, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self.pattern, self._flags), name)
        # From now on it is found without this.
        setattr(self, name, found)
        return found
