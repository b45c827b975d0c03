"""Command lines, for messages: each can be pasted as it is, whatever the names in it hold."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from batten.printable import commands_in_cells


def quote(word: str) -> str:
    """The word as a shell reads it, in characters that can be printed. A word that can't be quoted
    so is written as bash, zsh and ksh know it: $'…'."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escape, word)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    # Three digits each, so that a digit that follows belongs to the next character.
    return "".join(f"\\{byte:03o}" for byte in _to_bytes(character))


def _to_bytes(character: str) -> bytes:
    """What a name of a file holds for it; of a lone surrogate that stands for no byte, UTF-8."""
    try:
        return character.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return character.encode(errors="surrogatepass")


def join_words(*words: str) -> str:
    """Words as a shell command."""
    return " ".join(map(quote, words))


def command(*words: str) -> str:
    """`batten` with these words, quoted where a shell needs it. A path may hold anything; give one
    that could begin with a dash by `as_path`."""
    return join_words("batten", *words)


def as_path(path: str) -> str:
    """The path so that no command takes it for an option."""
    return f"./{path}" if path.startswith("-") else path


def in_folder(folder: str, line: str) -> str:
    """The command, to be run in that folder; empty if it is the folder of now."""
    return f"cd {quote(folder)} && {line}" if folder else line


_BEGINNINGS = ("batten ", "python ", "cd ")


def is_command(text: str) -> bool:
    """Whether the whole text is a command that can be pasted, and no words about one."""
    return text.startswith(_BEGINNINGS)


def in_cell(text: str) -> str:
    """The same for a cell of a notebook, where a command of the shell begins with `!`."""
    return f"!{text}" if is_command(text) else commands_in_cells(text)


def name_arguments(options: Iterable[str]) -> str:
    """Options of `batten run` that take no value, as arguments of `run()`."""
    return ", ".join(f"{each.lstrip('-').replace('-', '_')}=True" for each in options)
