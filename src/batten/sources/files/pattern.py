"""Finds the files that a glob pattern names, in the order of the bytes of their paths.

Each folder is listed once and only its own names are held, so memory grows with the largest folder
and not with the number of files. Siblings are ordered with `/` after the names of folders, which
makes walking them in turn give the order of whole paths: `a-b` comes before `a/x`, `a0` after it.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from batten.model.cached.cache_names import CACHE_PREFIX, find_generation
from batten.model.disk.names import CONTROL_SUFFIX
from batten.sources.paths import translated_errors

States = frozenset[int]
"""Components of the pattern, by number, that the names in a folder may match."""


class Pattern:
    """A glob pattern, component by component: `*`, `?` and `[…]` within a name, and `**` for any
    number of folders, none included. As in a shell, a name that begins with a dot matches only
    where the pattern has that dot. A folder `*.batten` matches only where it has that end, and the
    folder of a cache only where it begins as that does."""

    def __init__(self, components: list[str]) -> None:
        self._components = [_Component(text) for text in components]
        self._last = len(components) - 1

    def begin(self) -> States:
        return self._reach({0})

    def enter(self, states: States, name: str) -> States:
        """What the names in the folder `name` may match; empty if nothing in it can."""
        entered = set()
        for number in states:
            component = self._components[number]
            if component.match(name) and component.enters(name):
                if component.is_recursive:
                    entered.add(number)
                elif number < self._last:
                    entered.add(number + 1)
        return self._reach(entered)

    def accept(self, states: States, name: str) -> bool:
        """Whether a file of this name matches."""
        return self._last in states and self._components[self._last].match(name)

    def _reach(self, numbers: set[int]) -> States:
        reached = set(numbers)
        for number in sorted(numbers):
            while number < self._last and self._components[number].is_recursive:
                number += 1
                reached.add(number)
        return frozenset(reached)


class _Component:
    def __init__(self, text: str) -> None:
        self.is_recursive = text == "**"
        self._is_dot_matched = text.startswith(".")
        self._is_control_matched = text.endswith(CONTROL_SUFFIX)
        self._is_cache_matched = text.startswith(CACHE_PREFIX)
        self._match = re.compile(fnmatch.translate(text)).match

    def match(self, name: str) -> bool:
        if name.startswith(".") and not self._is_dot_matched:
            return False
        return self._match(name) is not None

    def enters(self, name: str) -> bool:
        if name.endswith(CONTROL_SUFFIX):
            return self._is_control_matched
        return self._is_cache_matched or find_generation(name) is None


def split_pattern(text: str) -> tuple[str, list[str]]:
    """The leading folder without magic ("" where there is none), and the components from there
    on."""
    root = "/" if text.startswith("/") else ""
    components = [part for part in text.split("/") if part not in ("", ".")]
    fixed = 0
    while fixed < len(components) - 1 and not has_magic(components[fixed]):
        fixed += 1
    return root + "/".join(components[:fixed]), components[fixed:]


def find_files(base: str, pattern: Pattern, left_out: Sequence[Path] = ()) -> Iterator[bytes]:
    """Paths, relative to `base`, of the files that match, in the order of their bytes, without
    the files and folders `left_out`.

    Links are followed, but not into a folder that they lie in. A link to nothing is a file that has
    vanished. It is given like others, so that it is not passed over in silence. Raises
    `StorageError` for a folder that cannot be listed.
    """
    others = frozenset(_identify(left_out))
    stack = [_WalkedFolder(os.fsencode(base), b"", pattern.begin(), frozenset(), pattern, others)]
    while stack:
        folder = stack[-1]
        name = next(folder.names, None)
        if name is None:
            stack.pop()
        elif name.endswith(b"/"):
            stack.append(folder.enter(name))
        else:
            yield folder.prefix + name


@dataclass(frozen=True)
class _Identity:
    device: int
    inode: int


def _identify(places: Iterable[Path]) -> Iterator[_Identity]:
    for place in places:
        try:
            status = os.stat(place)
        except OSError:
            continue
        yield _Identity(status.st_dev, status.st_ino)


class _WalkedFolder:
    """A folder on the way down: its matching names that are still to be given."""

    def __init__(
        self,
        base: bytes,
        prefix: bytes,
        states: States,
        ancestors: frozenset[_Identity],
        pattern: Pattern,
        left_out: frozenset[_Identity],
    ) -> None:
        self.prefix = prefix
        self._base = base
        self._pattern = pattern
        self._states = states
        self._left_out = left_out
        self._states_within: dict[bytes, States] = {}
        path = os.path.join(base, prefix)
        names: list[bytes] = []
        with translated_errors(os.fsdecode(path)):
            status = os.stat(path)
            own = _Identity(status.st_dev, status.st_ino)
            self._line = ancestors | {own}
            if len(self._line) > len(ancestors) and own not in left_out:
                with os.scandir(path) as entries:
                    names = [name for entry in entries if (name := self._observe(entry))]
        names.sort()
        self.names = iter(names)

    def enter(self, name: bytes) -> _WalkedFolder:
        states = self._states_within.pop(name)
        prefix = self.prefix + name
        return _WalkedFolder(self._base, prefix, states, self._line, self._pattern, self._left_out)

    def _observe(self, entry: os.DirEntry[bytes]) -> bytes | None:
        """The name of a file that matches, that of a folder to look into with a `/`, else None."""
        text = entry.name.decode("utf-8", "surrogateescape")
        states = self._pattern.enter(self._states, text)
        is_matching = self._pattern.accept(self._states, text)
        if not states and not is_matching:
            return None
        if _is_folder(entry):
            name = entry.name + b"/"
            if states:
                self._states_within[name] = states
                return name
            return None
        if not is_matching or not _is_file(entry) or self._is_left_out(entry):
            return None
        return entry.name

    def _is_left_out(self, entry: os.DirEntry[bytes]) -> bool:
        """Looked at closely only where it may be: most names need no further call."""
        is_likely = any(each.inode == entry.inode() for each in self._left_out)
        if not (is_likely or (self._left_out and entry.is_symlink())):
            return False
        return bool(self._left_out.intersection(_identify([Path(os.fsdecode(entry.path))])))


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        if entry.is_symlink():
            return False
        raise


def _is_file(entry: os.DirEntry[bytes]) -> bool:
    """False for pipes, sockets and devices, whatever links lead to them; a link to nothing is a
    file."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        if entry.is_symlink():
            return True
        raise
