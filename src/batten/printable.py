"""Text for terminals.

What comes from names, errors and records may hold anything. No control character, no escape
sequence and no mark that turns the direction of writing reaches a terminal.
"""

from __future__ import annotations


def escape(text: str) -> str:
    """The text on one line: what can't be printed is written as Python would write it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
