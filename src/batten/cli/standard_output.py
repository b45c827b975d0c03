"""Where a command names a file to make, `-` is standard output (decision 0152)."""

from __future__ import annotations

import sys

from batten.cli.output import settle_output
from batten.errors import usage_error
from batten.printable import escape

NAME = "-"


def is_standard_output(file: str, *, is_json: bool) -> bool:
    """Whether standard output is meant. Raises `UsageError` where the one JSON object goes there:
    nothing else does."""
    if file != NAME:
        return False
    if is_json:
        raise usage_error(
            "Standard output can't have both what - writes there and the object of --json.",
            "Leave --json out, or name a file; one with the name - is ./-",
        )
    return True


def refuse_metrics(file: str) -> None:
    """Raises `UsageError` where standard output is meant: what is there can't be replaced."""
    if file == NAME:
        raise usage_error(
            "--metrics - would write to standard output, but the file is replaced again and again.",
            "Name a file; one with the name - is ./-",
        )


class StandardOutput:
    """Standard output as an open binary file. A terminal gets text alone, and no character that it
    would obey."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()

    def write(self, data: bytes | memoryview) -> int:
        """Raises `StorageError` if it can't be written. A reader that went away had enough."""
        try:
            if self._is_terminal:
                text = bytes(data).decode(errors="backslashreplace")
                sys.stdout.write("\n".join(map(escape, text.split("\n"))))
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(data)
        except OSError as error:
            settle_output(error)
        return len(data)
