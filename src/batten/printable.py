"""Text for terminals.

What comes from names, errors and records may hold anything. No control character, no escape
sequence and no mark that turns the direction of writing reaches a terminal.
"""

from __future__ import annotations

import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # `batten --help` would wait for typing as long as for all else of batten
    from typing import TextIO


def escape(text: str) -> str:
    """The text on one line: what can't be printed is written as Python would write it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def tell(text: str, stream: TextIO | None) -> None:
    """Write the text as one line, in the letters that the stream knows. There may be no stream, it
    may be closed or stand in for one, and nobody may hear it: what is told of ends by none of that.
    """
    if stream is None:
        return
    with suppress(Exception):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        known = text.encode(encoding, "backslashreplace").decode(encoding)
        print(escape(known), file=stream, flush=True)


def warn(text: str, category: type[Warning], *, stacklevel: int) -> None:
    """Warn, in the name of a caller as for `warnings.warn`. That it can't be shown changes nothing.
    Raises the warning where the program makes such ones errors."""
    import warnings

    try:
        warnings.warn(escape(text), category, stacklevel=stacklevel + 1)
    except Warning:
        raise
    except Exception:  # noqa: BLE001 - what shows it may be closed
        pass


def blot(text: str) -> str:
    """The text without the values of secrets, where the job has some."""
    known = sys.modules.get("batten.fingerprint.secret")
    blotted: str = known.blot(text) if known is not None else text
    return blotted


def without_modules(told: str) -> str:
    """An error as Python tells it, or a whole traceback. A class of batten goes by its name alone:
    the module that it lies in tells its reader nothing."""
    import re

    return re.sub(r"^batten(?:\.\w+)+\.(\w+)(?=:|$)", r"\1", told, flags=re.MULTILINE)


def count_columns(text: str) -> int:
    """How many columns of a terminal a text takes: letters of East Asia take two."""
    if text.isascii():
        return len(text)
    import unicodedata

    return len(text) + sum(unicodedata.east_asian_width(each) in "WF" for each in text)


def commands_in_cells(text: str) -> str:
    """The text for a notebook: a command of batten's after a colon begins with `!` there."""
    return text.replace(": batten ", ": !batten ")
