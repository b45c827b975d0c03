"""How commands print. A reader that went away (`| head`) had what it wanted: no failure."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable

from batten import printable
from batten.printable import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class CommandResult(Protocol):
        """What a command has to tell. Its JSON is its own; `text` shows it to people."""

        def to_json(self) -> dict[str, Any]: ...


def prepare_streams() -> None:
    """Standard streams that were handed over closed lead nowhere, so that no file of the dataset
    gets their number. Names that are not UTF-8 are shown escaped rather than ending the command."""
    for descriptor in (0, 1, 2):
        _ensure_open(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _ensure_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, descriptor)
        if null != descriptor:
            os.close(null)
        os.set_inheritable(descriptor, True)


def emit(value: CommandResult, lines: Iterable[str], *, is_json: bool) -> None:
    """Print what a command has to tell: its object, or the lines for people, which are not made
    where nobody sees them."""
    if is_json:
        emit_object(value.to_json())
    else:
        emit_lines(lines)


def emit_object(value: dict[str, Any]) -> None:
    """Print one JSON object, in plain ASCII, on standard output."""
    import json

    # The one control character that JSON leaves as it is.
    emit_lines([json.dumps(value).replace("\x7f", r"\u007f")])


def emit_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output, each as one whatever it holds. Raises `StorageError` if it
    can't be written."""
    try:
        for line in lines:
            sys.stdout.write(escape(line) + "\n")
    except OSError as error:
        settle_output(error)


def tell(*lines: str) -> None:
    """Print lines for people on standard error, each as one whatever it holds. That nobody can read
    them changes no outcome."""
    for line in lines:
        printable.tell(line, sys.stderr)


def flush_output() -> None:
    """What was printed has reached its reader, or there is none. Raises `StorageError`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        settle_output(error)


def settle_output(error: OSError) -> None:
    """Nothing more can be printed; Python must not try again when it ends. Raises `StorageError`
    unless the reader just went away."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    if not isinstance(error, BrokenPipeError):
        from batten.errors import StorageError

        raise StorageError(
            f"Standard output can't be written: {error.strerror}.",
            safe="The command itself did what it says.",
            next="Give it a place to write to, then run the same command again.",
            errno=error.errno,
        ) from error
