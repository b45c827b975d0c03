"""What is being made beside its target, under a hidden name of its own.

Its maker holds the kernel's lock on it until it has the target's name. If nobody holds it, a killed
process left it. The next process that publishes to the same target removes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from batten.storage.changing.publishing import HOST, fresh_name
from batten.storage.local.folders import remove_tree
from batten.storage.local.locking.held import READ, Held, open_held

_NAME_CHARACTERS = 40
"""How much of the final name a throwaway one carries: both must fit in the 255 bytes of a name."""


@contextmanager
def held_throwaway(target: str, make: Callable[[str], Held]) -> Iterator[tuple[str, Held]]:
    """The path of what `make` made and opened there. It is removed at the end, if it still has
    that name."""
    _remove_abandoned(target)
    path, held = _make(target, make)
    try:
        yield path, held
    finally:
        with suppress(OSError):
            _remove(path)
        with suppress(OSError):
            held.release()


def _make(target: str, make: Callable[[str], Held]) -> tuple[str, Held]:
    while True:
        path = fresh_name(os.path.dirname(target).rstrip("/"), _prefix(target))
        held = make(path)
        try:
            is_mine = held.try_lock(is_shared=False) and held.find_status(path) is not None
        except OSError:
            is_mine = True  # where locks can't be had, nothing is found to be abandoned either
        if is_mine:
            return path, held
        held.release()


def _remove_abandoned(target: str) -> None:
    """Other machines may not share locks with this one, so their files are left alone."""
    folder = os.path.dirname(target)
    name_made = re.compile(re.escape(f"{_prefix(target)}.{HOST}") + r"-\d+-[0-9a-f]{16}")
    with suppress(OSError):
        for name in filter(name_made.fullmatch, os.listdir(folder)):
            with suppress(OSError):
                _remove_unheld(os.path.join(folder, name))


def _remove_unheld(path: str) -> None:
    held = open_held(path, READ | os.O_NONBLOCK)
    try:
        if held.try_lock(is_shared=False) and held.find_status(path) is not None:
            _remove(path)
    finally:
        held.release()


def _remove(path: str) -> None:
    remove_tree(path, below=os.path.dirname(path))


def _prefix(target: str) -> str:
    return "." + os.path.basename(target)[:_NAME_CHARACTERS]
