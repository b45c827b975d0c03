"""A model server of this machine that a run starts, watches and ends."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from batten.errors import UsageError, usage_error


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """A server that a run starts, waits for, starts again when it ends, and ends with the run.

    It speaks the protocol of vLLM and of llama.cpp's server: `/health` answers 200 when it is
    ready, and `/metrics` may tell how many requests wait in its queue. Whatever ends the run, even
    SIGKILL, ends the server.

    Attributes:
        command: How it is started: a list of words, or one text that is split like a shell does.
        url: Where it answers, with its port and without a path: "http://127.0.0.1:8000".
        ready_seconds_max: How long it may take to be ready, in seconds; 600 by default. After that
            the run ends.
        restarts_max: How often it is started again; 3 by default. When it ends once more, the run
            ends.

    Raises:
        UsageError: The command is empty, the URL is none, or a number can't be.
    """

    command: Sequence[str | os.PathLike[str]] | str
    url: str
    ready_seconds_max: float = 600.0
    restarts_max: int = 3

    def __post_init__(self) -> None:
        # A value, so that steps which name the same one share it.
        try:
            object.__setattr__(self, "command", self.words)
        except (TypeError, ValueError) as error:
            raise _refuse(f"command can't be: {error}.", _EXAMPLE) from None
        if not self.words:
            raise _refuse("command is empty.", _EXAMPLE)
        url: Any = self.url
        if not isinstance(url, str) or not _is_address(url):
            raise _refuse(f"url is {url!r}.", 'Give its address: "http://127.0.0.1:8000".')
        seconds: Any = self.ready_seconds_max
        restarts: Any = self.restarts_max
        is_time = isinstance(seconds, int | float) and seconds > 0
        if not is_time or not isinstance(restarts, int) or restarts < 0:
            raise _refuse("ready_seconds_max or restarts_max can't be.", "Give them from 0 on.")

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command."""
        if isinstance(self.command, str):
            return tuple(shlex.split(self.command))
        return tuple(os.fspath(word) for word in self.command)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and is_plain
        )
    except ValueError:
        return False


_EXAMPLE = 'Say how it is started: ["vllm", "serve", "…"].'


def _refuse(what: str, next: str) -> UsageError:
    return usage_error(f"ModelServer: {what}", next)
