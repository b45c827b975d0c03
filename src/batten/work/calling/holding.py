"""What functions write while an item is in hand: in folders that they are given, or as streams.

No file is in memory as a whole, unless a function has it so.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from batten.model.annotations import signature_of
from batten.model.disk.names import Layout
from batten.model.disk.throwaway_names import workroom_name
from batten.model.value_class import value_class
from batten.storage.base import Folder, Piece, describe_kind
from batten.storage.changing.publishing import HOST, fresh_name
from batten.storage.digests import Measured
from batten.storage.reading import open_regular

FOLDER_PARAMETER = "folder"
"""The parameter by which a function asks for a folder to write in."""

_PIECE_BYTES = 1 << 20


class NoFileError(TypeError):
    """A function returned what is no file."""


@value_class
class HeldFile:
    """A file that was written in `staging/`, under a name of batten's, while its item is in
    hand."""

    held: str
    size: int
    digest: str


class _StreamFailed(Exception):
    """Carries what a stream raised past who writes it, who would take it for the disk's."""


def takes_folder(function: Any) -> bool:
    """Whether the function has a second parameter `folder`, without a default."""
    called = function
    if isinstance(function, type):
        called = getattr(function, "__call__", function)  # noqa: B004
    try:
        parameters = list(signature_of(called).parameters.values())
    except (TypeError, ValueError):
        return False
    skipped = 2 if isinstance(function, type) else 1
    return any(
        each.name == FOLDER_PARAMETER and each.default is inspect.Parameter.empty
        for each in parameters[skipped:]
    )


class Hold:
    """What the functions of one item wrote, until its files have names. Of one item at a time."""

    def __init__(self, storage: Folder, layout: Layout) -> None:
        self._storage = storage
        self._layout = layout
        self._folders: list[str] = []
        self._outside: list[TemporaryDirectory[str]] = []
        self._held: list[str] = []

    def make_folder(self) -> Path:
        """A folder of its own for one call, empty; it lasts as long as the item is in hand."""
        local = self._storage.local
        if local is None:
            # A preview is made in memory, and a function can write there no more than read.
            outside = TemporaryDirectory(prefix="batten-")
            self._outside.append(outside)
            return Path(outside.name)
        random = os.urandom(8).hex()
        piece = workroom_name(host=HOST, pid=os.getpid(), random=random)
        name = f"{self._layout.staging}/{piece}"
        path = local.make_workroom(name)
        self._folders.append(name)
        return Path(path)

    def take_streams(self, made: Any) -> Any:
        """The same with each stream written, so that what it raises is its function's."""
        if isinstance(made, Mapping):
            return {name: self.take_streams(each) for name, each in made.items()}
        return self.write(made) if is_stream(made) else made

    def write(self, pieces: Any) -> HeldFile:
        """A file of what a stream gives, piece by piece, synced."""
        return self.write_pieces(_read_stream(pieces), is_synced=True)

    def write_pieces(self, pieces: Iterable[Piece], *, is_synced: bool) -> HeldFile:
        name, measured = fresh_name(self._layout.staging, "item"), Measured()
        try:
            self._storage.stage(name, measured.pass_on(pieces), is_synced=is_synced)
        except _StreamFailed as failed:
            raise failed.args[0] from None
        self._held.append(name)
        return HeldFile(held=name, size=measured.size, digest=measured.digest)

    def find(self, path: Any) -> HeldFile:
        """The file at a path below one of its folders. Raises `NoFileError`."""
        shown = os.fsdecode(path)
        local = self._storage.local
        for folder in self._folders:
            if local is None:
                break
            within = _find_within(shown, f"{local.place}/{folder}")
            if not within:
                continue
            name = f"{folder}/{within}"
            entry = local.find(name)
            if entry is None or not entry.is_file:
                what = "no file" if entry is None else describe_kind(entry)
                raise NoFileError(f"it returned the path {shown!r}, and {what} is there")
            measured = Measured()
            with local.open(name) as file:
                status = os.fstat(file.fileno())
                measured.read_all(file)
            if status.st_nlink > 1 or not status.st_mode & stat.S_IRUSR:
                # Somebody else has it under another name, and could change it.
                return self.copy(f"{local.place}/{name}")
            self._held.append(name)
            return HeldFile(held=name, size=measured.size, digest=measured.digest)
        for outside in self._outside:
            if _find_within(shown, outside.name):
                return self.copy(shown)
        raise NoFileError(
            f"it returned the path {shown!r}, which is in no folder that it was given: "
            f"def make(item, {FOLDER_PARAMETER}) gets one"
        )

    def copy(self, path: str | os.PathLike[str]) -> HeldFile:
        """A file of the same bytes."""
        with open_regular(path) as file:
            return self.write_pieces(_read_stream(file), is_synced=True)

    def copy_to(self, content: Any, path: Path) -> None:
        """Write the same bytes at a path that is not of the output."""
        if isinstance(content, bytes | bytearray | memoryview):
            path.write_bytes(content)
            return
        held = content if isinstance(content, HeldFile) else self.find(content)
        with self._storage.open(held.held) as source, path.open("wb") as target:
            while piece := source.read(_PIECE_BYTES):
                target.write(piece)

    def release(self) -> None:
        """Delete what was kept of nothing."""
        for name in self._held:
            self._storage.delete(name)
        for name in self._folders:
            self._storage.delete_tree(name)
        for outside in self._outside:
            outside.cleanup()
        self._outside.clear()
        self._held.clear()
        self._folders.clear()

    def give(self, held: HeldFile) -> str:
        """Where it is; it is no longer this one's to delete."""
        self._held.remove(held.held)
        return held.held


def _find_within(path: str, folder: str) -> str:
    """The name below the folder, which may be reached by links; empty if the path leads nowhere
    below it. A link in the place of the file itself is not followed."""
    above, last = os.path.split(os.path.abspath(path))
    within = os.path.relpath(os.path.join(os.path.realpath(above), last), os.path.realpath(folder))
    return "" if within == "." or within.split("/")[0] == ".." else within


def is_stream(value: Any) -> bool:
    """Whether it gives bytes piece by piece: a generator, an open file."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | os.PathLike):
        return False
    return isinstance(value, Iterator) or callable(getattr(value, "read", None))


def _read_stream(stream: Any) -> Iterator[Piece]:
    read = getattr(stream, "read", None)
    pieces = iter(lambda: read(_PIECE_BYTES), b"") if callable(read) else iter(stream)
    while True:
        try:
            piece = next(pieces, None)
        except BaseException as error:
            raise _StreamFailed(error) from error
        if piece is None:
            return
        if not isinstance(piece, bytes | bytearray | memoryview):
            kind = type(piece).__name__
            raise _StreamFailed(NoFileError(f"its stream gave a {kind} where bytes should be"))
        yield bytes(piece) if isinstance(piece, bytearray) else piece


async def take_streams(made: Any, hold: Hold, *, is_many: bool) -> Any:
    """`Hold.take_streams`, also for streams that are awaited. With `is_many` it is any number of
    results."""
    if isinstance(made, Mapping):
        return {name: await take_streams(each, hold, is_many=False) for name, each in made.items()}
    if is_many and isinstance(made, AsyncIterable):
        return [await take_streams(each, hold, is_many=False) async for each in made]
    if is_many:
        return [await take_streams(each, hold, is_many=False) for each in made]
    if not isinstance(made, AsyncIterable):
        return hold.take_streams(made)
    path = hold.make_folder() / "stream"
    with path.open("wb") as file:
        async for piece in made:
            file.write(piece)
    return path
