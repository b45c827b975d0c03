"""Files as what is made of items: named by a row, and kept in `made/` until they get their places.

Each lies there once. It gets a second name when it gets its place, and then the first one goes. Its
bytes are synced before anything names it that outlives a kill.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from batten.errors import BattenError, usage_error
from batten.jobs.step import Step
from batten.model.disk.items.item_files import (
    DIGEST_COLUMN,
    FILE_COLUMN,
    SIZE_COLUMN,
    ItemFile,
    name_made,
)
from batten.model.disk.items.item_names import PATH_BYTES_MAX, NamePattern
from batten.model.disk.names import Layout
from batten.storage.base import Store
from batten.storage.relative import last_piece
from batten.work.calling.calls import ItemFailedError, as_final, find_last_maker
from batten.work.calling.holding import (
    FOLDER_PARAMETER,
    HeldFile,
    Hold,
    NoFileError,
    is_stream,
    takes_folder,
)


def check_kept(steps: Sequence[Step]) -> None:
    """Raises `UsageError` for a cache that would keep paths of files, and not the files."""
    last = find_last_maker(steps)
    for step in steps:
        if step.cache is None:
            continue
        is_of_path = takes_folder(step.function) and step is not last
        if is_of_path or (step.is_async and step is last):
            what = f"a step with `{FOLDER_PARAMETER}`" if is_of_path else "a function that awaits"
            raise usage_error(
                f"cache= can't keep the files of {what} here.",
                "Leave cache= out there; a plain function that makes the last files can have it.",
            )


class ItemFiles:
    """Names the files of items, of any batch. Those of one worker, or of its event loop."""

    def __init__(self, storage: Store, layout: Layout, names: NamePattern) -> None:
        if storage.folder is None:
            raise TypeError(f"{storage.place} is no folder")
        self._storage = storage.folder
        self._layout = layout
        self._names = names
        # The same where a dataset is made in `fresh/`, to take the place of another one.
        output = f"{storage.place}/{last_piece(layout.output)}/"
        self._room = PATH_BYTES_MAX - len(os.fsencode(output))
        self._syncs = self._storage.begin_syncs(layout.made)
        self._unsynced: list[str] = []
        self._syncing = Lock()

    def make_hold(self) -> Hold:
        return Hold(self._storage, self._layout)

    def name(self, batch: int, key: Any, made: Sequence[Any], hold: Hold) -> list[dict[str, Any]]:
        """The rows that tell of the files of an item. Raises `ItemFailedError` for what is no file
        or can have no name, and `StorageError`."""
        try:
            files: dict[str, Any] = {}
            for value in made:
                for name, content in self._list_contents(value):
                    target = self._names.fill(str(key), name, room=self._room)
                    if target in files:
                        raise NoFileError(f"two of its files would be called {target!r}")
                    files[target] = content
            return [self._keep(batch, target, each, hold) for target, each in files.items()]
        except (BattenError, ItemFailedError):
            raise
        except BaseException as error:
            raise as_final(error, 1) from error

    def sync(self) -> None:
        """The bytes of all that was named so far are durable."""
        with self._syncing:
            unsynced, self._unsynced = self._unsynced, []
            if unsynced:
                self._syncs.sync(unsynced)

    def _list_contents(self, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping) != self._names.has_names:
            kind = type(value).__name__
            wants = "a dict of files by name" if self._names.has_names else "one file"
            raise NoFileError(
                f"it returned a {kind}, and {self._names.text!r} takes {wants} for an item"
            )
        if not isinstance(value, Mapping):
            yield "", value
            return
        for name, content in value.items():
            if not isinstance(name, str) or not name:
                raise NoFileError(f"a file's name is {name!r}, which is no text")
            yield name, content

    def _keep(self, batch: int, target: str, content: Any, hold: Hold) -> dict[str, Any]:
        held = self._hold_content(content, hold)
        file = ItemFile(name=target, size=held.size, digest=held.digest)
        made = name_made(self._layout, batch, file)
        self._storage.replace(hold.give(held), made)
        self._unsynced.append(made)
        return {FILE_COLUMN: target, SIZE_COLUMN: held.size, DIGEST_COLUMN: held.digest}

    def _hold_content(self, content: Any, hold: Hold) -> HeldFile:
        if isinstance(content, HeldFile):
            return content
        if isinstance(content, bytes | bytearray | memoryview):
            return hold.write_pieces((memoryview(content).cast("B"),), is_synced=False)
        if isinstance(content, str | os.PathLike):
            return hold.find(content)
        if is_stream(content):
            return hold.write(content)
        raise NoFileError(
            f"it returned a {type(content).__name__}, which is no file: return bytes, a stream of "
            "bytes, or the path of a file in the folder it was given"
        )
