"""What batten asks of a place that holds files: whole files, made once, listed, read and deleted.

There are two protocols. `Store` is what any place can do, an object store too: it has no folders,
no second names, no lock of a kernel, and its answers may be lost. So each change has a condition,
which the store itself keeps, whoever asks and however late:

    put_new(name, data)              only if there is nothing of that name
    put_if(name, data, version)      only in the place of the version that was seen
    delete_if(name, version)         only the version that was seen

`Folder` is what a folder of a file system can do more, and what makes a run on it quick:

    stage(name)            a whole file, unseen by readers for its place (`staging/`); may be synced
    publish(staged, name)  the same file under its final name, by one step that replaces nothing
    sync_names(folder)     the names in a folder are durable from here on
    delete(name)           the name is gone; only ever after what replaces it is durable
    lock(name)             nobody else is at work, as long as this process lives

Who needs more than a `Store` asks the store for it, by `folder` or by `local`, and says what it
does if that is None. Nobody asks for the type of a storage. Names are relative to the storage,
with `/`. `publishing.py` puts these steps together, for both; everybody else uses that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple, Protocol, Self

from batten.model.disk.runs.holders import Holder

Piece = bytes | memoryview
Data = Piece | Iterable[Piece]
"""What a file is made of: all of it, or piece by piece."""


def pieces_of(data: Data) -> Iterable[Piece]:
    return (data,) if isinstance(data, bytes | bytearray | memoryview) else data


READ_BYTES_MAX = 1 << 26
"""Of a file that is read whole, unless the caller says what it expects there: no record that batten
writes is near that size."""


Kind = Literal["file", "folder", "link", "other"]
"""What lies under a name itself, links not followed; "other" is a pipe, a socket, a device."""


class Entry(NamedTuple):
    """What a listing shows: its full name, size in bytes, time of last change in seconds since
    1970, what it is, and which version of it: a text that is another one after each change."""

    name: str
    size: int
    modified_seconds: float
    kind: Kind = "file"
    version: str = ""

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"

    @property
    def is_file(self) -> bool:
        return self.kind == "file"


_KINDS = {"file": "a file", "folder": "a folder", "link": "a symbolic link"}


def describe_kind(entry: Entry) -> str:
    """What it is, in words."""
    return _KINDS.get(entry.kind, "a pipe, a socket or a device")


class Lock(Protocol):
    """A lock that is held until `release`, or until the process ends. What derives from it is
    released at the end of a `with` block."""

    def release(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Syncs(Protocol):
    """Makes files durable together, which is quicker than to sync each while it is made."""

    def sync(self, names: Sequence[str]) -> None:
        """What these files hold is durable when this returns."""
        ...


class Put(Enum):
    """What became of a change that has a condition.

    `MADE`: it was done. `SAME`: it need not be done; what is there has just these bytes. `OTHER`:
    the condition does not hold, so nothing was changed. `UNKNOWN`: the answer was lost, and a look
    did not settle it: it may be done yet, at any later time, or never."""

    MADE = "made"
    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


class PutAnswer(NamedTuple):
    """What became of a change, and the version that is there by that answer; empty if nothing
    is there, or nothing is known."""

    put: Put
    version: str = ""


class Got(NamedTuple):
    """All bytes of a file, and of which version they are."""

    data: bytes
    version: str


class Store(Protocol):
    """What any place can do; see the module. Every method raises `StorageError` when the place
    fails. After that the act may have happened or not, and the caller looks it up."""

    @property
    def place(self) -> str:
        """Where it is: the path of a folder, or an address."""
        ...

    @property
    def folder(self) -> Folder | None:
        """The same, if it is a folder of a file system; else None."""
        ...

    @property
    def local(self) -> LocalFolder | None:
        """The same, if it is a folder of this machine, and `place` its path; else None."""
        ...

    def steady(self) -> AbstractContextManager[None]:
        """A block for looks and acts that belong together, on what is in the folders at the first
        of them: it saves looking at each folder for each. What others move away meanwhile might as
        well be moved at its end."""
        ...

    def put_new(self, name: str, data: Piece) -> PutAnswer:
        """The file is there with this data, durable, if there was none of that name. With an
        answer that was lost it looks itself. May be repeated."""
        ...

    def put_if(self, name: str, data: Piece, version: str) -> PutAnswer:
        """The file is there with this data, durable, if it was of this version."""
        ...

    def delete_if(self, name: str, version: str) -> PutAnswer:
        """The file is gone, if it was of this version. `MADE` also if it was gone before."""
        ...

    def get(self, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        """All of the file and its version, of one moment. Raises as `read` does."""
        ...

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        """The bytes, fewer than `length` at the file's end. A negative `offset` counts from the
        end. Raises `FileNotFoundError` when there is no such file.

        It reads only a file, and, if `bytes_max` is not None, only one of at most so many bytes:
        `StorageError` says so, and `is_of_wrong_kind` holds for it."""
        ...

    def open(self, name: str) -> BinaryIO:
        """The file for reading at random, as it is now. Raises `FileNotFoundError`. A read raises
        `OtherVersionError` where a store has another version of it by then."""
        ...

    def find(self, name: str) -> Entry | None:
        """The file or folder of that name, or None."""
        ...

    def list(self, folder: str) -> Iterator[Entry]:
        """What lies directly in the folder, in no order, with its versions unless this is a folder
        of a file system, which is quicker without them; nothing if there is no such folder."""
        ...

    def list_names(self, folder: str) -> Iterator[str]:
        """The names of what `list` shows, without the folder: quicker, since nothing else is
        asked about each."""
        ...

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        """The whole content of each of these files of a folder, in order: quicker than `read`, for
        small ones by the thousand. None in the place of one that is not small, or that can't be
        read, of which `read` says why."""
        ...

    def lease(self, name: str, holder: Holder) -> Lock:
        """Say that one is at work, if nobody else does: raises `BusyError` then. It saves work and
        gives clear refusals. It keeps nobody from a change, unless the `folder` has a lock."""
        ...

    def observe_lock(self, name: str) -> Holder | None:
        """Who holds the lock or the lease, or None if nobody does. Changes nothing."""
        ...


class Folder(Store, Protocol):
    """What a folder of a file system can do more; see the module."""

    def stage(self, name: str, data: Data, *, is_synced: bool) -> None:
        """Create the file exclusively with all of `data`; its bytes durable with `is_synced`. What
        `data` itself raises is raised on, and the file is gone."""
        ...

    def publish(self, staged: str, name: str) -> bool:
        """Make the staged file appear as `name`, whole, in one step, and replace nothing.

        True when it appeared now; False when `name` was there already, which is then untouched.
        The staged name stays until `delete`."""
        ...

    def replace(self, staged: str, name: str) -> None:
        """Make the staged file appear as `name` in one step, in the place of what was there.

        A folder can be moved so to a name that is free."""
        ...

    def exchange(self, first: str, second: str) -> None:
        """Two folders exchange their names in one step; both must be there. Durable when the folder
        of `second` is synced."""
        ...

    def begin_syncs(self, folder: str) -> Syncs:
        """Syncs of files together, of those that are written in the folder from here on."""
        ...

    def sync_names(self, folder: str) -> None:
        """What appeared in and disappeared from `folder` is durable when this returns."""
        ...

    def ensure_folder(self, folder: str) -> None:
        """The folder exists and is durable; with all its parents. May be repeated."""
        ...

    def delete(self, name: str) -> None:
        """The file is gone, also when it was not there. Empty folders can be deleted too."""
        ...

    def delete_tree(self, name: str) -> None:
        """The file is gone, or the folder with all that is in it. It is no error if it was not
        there. Of a link, the link. It may be killed with half of it done, and repeated."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add all of `data` to the end of a file, which is made if need be. Any number of processes
        may do so at a time, each whole. Not synced. After an error a part of it may be there."""
        ...

    def append_log(self, name: str, line: bytes) -> None:
        """Add a line to a run log. Never relied upon, so never synced; failures are ignored."""
        ...

    def lock(self, name: str, holder: Holder) -> Lock:
        """Take the lock exclusively without waiting, and leave `holder` as its text. Raises
        `BusyError` when another holds it."""
        ...


class LocalFolder(Folder, Protocol):
    """What a folder of this machine can do more."""

    def create_shared(self, name: str, size: int) -> int:
        """Create the file exclusively, with room for so many bytes, open to be mapped and shared
        with other processes. Nothing is relied upon that it holds, so it is never synced."""
        ...

    def make_workroom(self, name: str) -> str:
        """Make a folder that nothing is relied upon, so it is never synced; its path."""
        ...
