"""Files that a pattern names.

The item is a `Path`, the key the path below the pattern's fixed folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from functools import cached_property
from glob import has_magic
from pathlib import Path

from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.blocks import cut_blocks
from batten.sources.files.pattern import Pattern, find_files, split_pattern
from batten.sources.identity.keys import escape_key, unescape_key
from batten.sources.identity.versions import check_changed, version_of_file
from batten.sources.paths import require_file, require_folder, source_error, written_path


class FileSource:
    """The files that match a glob pattern such as `clips/**/*.mp4`, relative to `folder`.

    The key is the path relative to the pattern's leading folder without magic (`clips`), with `/`.
    Items come in the order of the bytes of that path, which is the same on every machine. Names
    that begin with a dot match only where the pattern has that dot; links are followed. The same
    holds for folders `*.batten`, in which batten keeps what it knows of an output. The item is an
    absolute `Path`. Its version is its size and time of change, or its bytes, as `changed` says.
    """

    is_keyed = True
    is_counted = False
    has_kinds = True

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        *,
        folder: Path,
        changed: str = "stat",
        removed: str = "keep",
    ) -> None:
        check_changed("from_files", changed, removed, is_file=True)
        self._changed = changed
        self.drops_gone = removed == "drop"
        self._written = written_path(pattern)
        fixed, self._components = split_pattern(self._written)
        if not self._components or self._written.endswith("/") or ".." in self._components:
            raise source_error(
                f"The pattern {self._written!r} names no files.",
                f"Give one such as {_suggest(self._written)}, with .. only at its start.",
            )
        self._fixed = fixed
        self._base = Path(folder, fixed).absolute()
        self._left_out: tuple[Path, ...] = ()

    @cached_property
    def _has_namesake(self) -> bool:
        return os.path.lexists(self._base / self._fixed)

    def name_key(self, path: str) -> str:
        """The key of the file at a path that a program beside the job would open; the same text
        where it may be a key as it is (decision 0117)."""
        told, before = os.path.normpath(path), f"{self._base}/"
        if not os.path.isabs(told):
            before = f"{os.path.normpath(self._fixed)}/"
            if not self._fixed or self._has_namesake:
                return path
        return told.removeprefix(before) if told.startswith(before) else path

    def without(self, places: Sequence[Path]) -> FileSource:
        """The same without the files and folders at these places, and what is in them."""
        other = copy(self)
        other._left_out = tuple(places)
        return other

    @property
    def identity(self) -> dict[str, str]:
        return {"source": f"files {escape_key(self._written)}"}

    @property
    def inputs(self) -> tuple[Path, ...]:
        name = self._components[0]
        return (self._base if has_magic(name) else self._base / name,)

    def count_items(self) -> None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        require_folder(self._base)
        for names in cut_blocks(self._find_names()):
            keys = [escape_key(name.decode("utf-8", "surrogateescape")) for name in names]
            yield ScanBlock(count=len(keys), keys=keys, digests=self._find_versions(names))

    def _find_versions(self, names: Sequence[bytes]) -> bytes | None:
        if self._changed == "ignore":
            return None
        base = os.fsencode(self._base) + b"/"
        return b"".join([version_of_file(base + name, self._changed) for name in names])

    def open(self) -> FileReader:
        return FileReader(str(self._base))

    def _find_names(self) -> Iterator[bytes]:
        if not has_magic(self._components[0]):
            name = self._components[0]
            suggestion = f"To take the files in it, give {_suggest(self._written)}."
            require_file(self._base / name, if_folder=suggestion)
            return iter([os.fsencode(name)])
        return find_files(str(self._base), Pattern(self._components), self._left_out)


class FileReader:
    """Gives the paths of files that are there, and `Unavailable` for those that are not."""

    def __init__(self, base: str) -> None:
        self._base = base

    def read(self, wanted: ItemsWanted) -> Iterator[Path | Unavailable]:
        if wanted.keys is None:
            raise ValueError("files are read by their keys")
        for key in wanted.keys:
            name = unescape_key(key).encode("utf-8", "surrogateescape")
            path = f"{self._base}/{os.fsdecode(name)}"
            try:
                os.stat(path)
            except OSError as error:
                yield Unavailable(error)
            else:
                yield Path(path)


def _suggest(written: str) -> str:
    return repr(f"{written.rstrip('/') or '.'}/**/*")
