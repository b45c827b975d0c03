"""What a terminal gets of commands."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path


def read_rest(leader: int) -> bytes:
    """All that comes until nobody has the other side open; then this side is closed."""
    told = b""
    while piece := _read(leader):
        told += piece
    os.close(leader)
    return told


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:
        return b""


def watch_terminal(words: Sequence[str], folder: Path, **env: str) -> tuple[int, bytes]:
    """The exit code of a command, and what a terminal gets of it."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        words,
        cwd=folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm"} | env,
    )
    os.close(follower)
    told = read_rest(leader)
    return process.wait(timeout=60), told
