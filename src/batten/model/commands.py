"""Command lines of batten, for messages: each can be pasted as it is."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """`batten` with these words, quoted where a shell needs it; paths may hold anything."""
    return shlex.join(("batten", *words))
