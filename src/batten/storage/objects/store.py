"""A store of objects at an address, `s3://bucket/prefix`, by the client `obstore` (decision 0107).

The version of an object is its ETag. A client asks again by itself when no answer comes, and is
then refused by what it did itself. So a refused condition means "look": the bytes that are there
say whether the change was made.

The client's threads do not survive a fork, so workers begin in a fresh interpreter. There they open
the same address again.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, BinaryIO

from batten.errors import StorageError, usage_error
from batten.model.disk.runs.holders import Holder
from batten.storage.addresses import has_more_than_a_place
from batten.storage.base import READ_BYTES_MAX, Entry, Got, Lock, Piece, Put, PutAnswer
from batten.storage.failures import reading_failure as refusing_failure
from batten.storage.failures import too_large
from batten.storage.objects import lease
from batten.storage.objects.connecting import connect
from batten.storage.objects.failures import (
    has_no_answer,
    is_absent,
    odd_name_below,
    other_version,
    reading_failure,
    writing_failure,
)
from batten.storage.objects.open_object import OpenObject
from batten.storage.objects.probe import probe
from batten.storage.reading import SMALL_BYTES
from batten.storage.relative import check_folder, check_name, last_piece

_READERS = 16
"""So many small objects are read at a time."""
_AHEAD = 8 * _READERS
_BUFFER_BYTES = 1 << 20
_PAGE = 1000
"""So many names a store tells at a time."""
_TOLD_MAX = 1 << 17
_RANGE_PAST_END = "416"


class BucketStore:
    """Implements `Store`. Threads may share it; pickled, it is opened anew.

    `is_probed`: the store was found to keep conditions, so that it is not tried once more."""

    folder: None = None
    local: None = None

    def __init__(self, address: str, *, is_probed: bool = False) -> None:
        self._address = address
        self._is_probed = is_probed
        self._is_probing = False
        self._probing = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._address, self._is_probed)

    @property
    def place(self) -> str:
        return self._address

    @cached_property
    def _client(self) -> Any:
        return connect(self._address)

    @cached_property
    def _obstore(self) -> Any:
        import obstore.exceptions

        return obstore

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        """What the client raises where the store refuses, or gives no answer."""
        return self._obstore.exceptions.BaseError, OSError

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_READERS, thread_name_prefix="batten-reader")

    def steady(self) -> AbstractContextManager[None]:
        return nullcontext()

    def put_new(self, name: str, data: Piece) -> PutAnswer:
        return self._put(name, data, "")

    def put_if(self, name: str, data: Piece, version: str) -> PutAnswer:
        return self._put(name, data, version)

    def delete_if(self, name: str, version: str) -> PutAnswer:
        """What is deleted in a store is throwaway that nobody relies on. So a look before it is
        enough: few stores keep a condition of a deletion."""
        found = self._head(check_name(name))
        if found is None:
            return PutAnswer(Put.MADE)
        if found.version != version:
            return PutAnswer(Put.OTHER, found.version)
        try:
            self._obstore.delete(self._client, name)
        except self._errors as error:
            if not has_no_answer(error):
                raise writing_failure(error, "Deleting", self._at(name)) from error
            return PutAnswer(Put.UNKNOWN, version)
        return PutAnswer(Put.MADE)

    def get(self, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        found = self._get(check_name(name), {}, "Reading", bytes_max)
        return Got(bytes(found.bytes()), _version(found.meta))

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        if offset == 0 and length is None:
            return self.get(name, bytes_max=bytes_max).data
        if offset < 0:
            # How long it is decides where a range begins that ends before the end.
            entry = self._head(check_name(name))
            if entry is None:
                raise FileNotFoundError(name)
            offset = max(entry.size + offset, 0)
        end = None if length is None else offset + length
        return self._read_range(check_name(name), offset, end, "", bytes_max)

    def open(self, name: str) -> BinaryIO:
        entry = self._head(check_name(name))
        if entry is None:
            raise FileNotFoundError(name)

        def read_range(start: int, end: int) -> bytes:
            try:
                data = self._read_range(name, start, end, entry.version, None)
            except FileNotFoundError as error:
                raise other_version("Reading", self._at(name)) from error
            if len(data) != end - start:
                # Taken for the end, the rest of the object would be lost without a word.
                raise other_version("Reading", self._at(name))
            return data

        return io.BufferedReader(OpenObject(read_range, entry.size), _BUFFER_BYTES)

    def find(self, name: str) -> Entry | None:
        found = self._head(name) if check_folder(name) else None
        if found is not None:
            return found
        is_folder = not name or any(True for _ in self.list(name))
        return Entry(name, 0, 0.0, "folder") if is_folder else None

    def list(self, folder: str) -> Iterator[Entry]:
        """By pages, as long as there are no folders: of those a page shows all that is below. So
        they are asked for at once, unless too much has been told to tell the rest from it. No
        order is relied upon: a few stores have none (decision 0133)."""
        start = len(check_folder(folder)) + 1 if folder else 0
        told, folders = set[str](), set[str]()
        try:
            for entry in self._list_below(folder):
                piece, slash, _ = entry.name[start:].partition("/")
                # The client tells a folder's placeholder "sub/" as "sub": only the size differs.
                is_file = not slash and entry.size > 0
                if not is_file and len(told) < _TOLD_MAX:
                    raise _NotFlatError
                if is_file or (not slash and self._is_empty_object(entry.name)):
                    if len(told) < _TOLD_MAX:
                        told.add(entry.name)
                    yield entry
                elif (name := entry.name[:start] + piece) not in folders:
                    folders.add(name)
                    yield Entry(name, 0, 0.0, "folder")
        except _NotFlatError as error:
            if len(told) >= _TOLD_MAX:  # What else was told would be told twice.
                raise odd_name_below(self._at(folder)) from error
            for each in self._list_at_once(folder):
                if each.name not in (folders if each.is_folder else told):  # Both may have it.
                    yield each

    def _is_empty_object(self, name: str) -> bool:
        found = self._head(name)
        return found is not None and found.size == 0

    def list_names_after(self, folder: str, after: str) -> Iterator[str]:
        """As `list_names`, but it may leave out the names up to that one. See `storage.listing`."""
        try:
            for entry in self._list_below(check_folder(folder), f"{folder}/{after}"):
                yield entry.name[len(folder) + 1 :].partition("/")[0]
        except _NotFlatError:
            yield from self.list_names(folder)

    def _list_below(self, folder: str, after: str | None = None) -> Iterator[Entry]:
        """All objects whose names begin with the folder's, page by page."""
        has_begun = False
        try:
            pages = self._obstore.list(self._client, folder or None, offset=after, chunk_size=_PAGE)
            for page in pages:
                has_begun = True
                # Some stores keep an empty object in the place of a folder.
                yield from (_describe(meta) for meta in page if meta["path"] != folder)
        except self._obstore.exceptions.InvalidPathError as error:
            # A name with an empty piece, somewhere below: the client goes no further.
            raise _NotFlatError from error
        except self._errors as error:
            if has_begun or not is_absent(error):
                raise reading_failure(error, "Listing", self._at(folder)) from error

    def _list_at_once(self, folder: str) -> Iterator[Entry]:
        try:
            found = self._obstore.list_with_delimiter(self._client, folder or None)
        except self._errors as error:
            if is_absent(error):
                return
            raise reading_failure(error, "Listing", self._at(folder)) from error
        for name in found["common_prefixes"]:
            yield Entry(name.rstrip("/"), 0, 0.0, "folder")
        for meta in found["objects"]:
            if meta["path"] != folder:
                yield _describe(meta)

    def list_names(self, folder: str) -> Iterator[str]:
        for entry in self.list(folder):
            yield last_piece(entry.name)

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        waiting: list[Any] = []
        for name in names:
            waiting.append(self._readers.submit(self._read_small, f"{folder}/{name}"))
            if len(waiting) >= _AHEAD:
                yield waiting.pop(0).result()
        for each in waiting:
            yield each.result()

    def lease(self, name: str, holder: Holder) -> Lock:
        return lease.take(self, check_name(name), holder)

    def observe_lock(self, name: str) -> Holder | None:
        return lease.observe(self, check_name(name))

    def _at(self, name: str) -> str:
        return f"{self._address}/{name}" if name else self._address

    def _put(self, name: str, data: Piece, version: str) -> PutAnswer:
        check_name(name)
        self._require_conditions()
        mode: Any = {"e_tag": version} if version else "create"
        try:
            made = self._obstore.put(
                self._client, name, memoryview(data).cast("B"), mode=mode, use_multipart=False
            )
        except self._errors as error:
            if not (has_no_answer(error) or is_absent(error)):
                raise writing_failure(error, "Writing", self._at(name)) from error
            return self._look(name, data, version)
        return PutAnswer(Put.MADE, made["e_tag"] or "")

    def _require_conditions(self) -> None:
        """Before the first change, once."""
        if self._is_probed:
            return
        with self._probing:
            if not self._is_probing:
                self._is_probing = True
                try:
                    probe(self)
                    self._is_probed = True
                finally:
                    self._is_probing = False

    def _look(self, name: str, data: Piece, version: str) -> PutAnswer:
        """What is there tells what became of a change, but for one that may come yet."""
        found = self._head(name)
        there = found.version if found is not None else ""
        if found is not None and found.size == len(data) and self._holds(found, data):
            return PutAnswer(Put.SAME, there)
        return PutAnswer(Put.UNKNOWN if there == version else Put.OTHER, there)

    def _holds(self, entry: Entry, data: Piece) -> bool:
        try:
            return self._read_range(entry.name, 0, None, entry.version, None) == bytes(data)
        except FileNotFoundError:
            return False

    def _head(self, name: str) -> Entry | None:
        try:
            return _describe(self._obstore.head(self._client, name))
        except self._errors as error:
            if is_absent(error):
                return None
            raise reading_failure(error, "Looking up", self._at(name)) from error

    def _get(self, name: str, options: dict[str, Any], action: str, bytes_max: int | None) -> Any:
        try:
            found = self._obstore.get(self._client, name, options=options)
        except self._errors as error:
            if is_absent(error):
                raise FileNotFoundError(name) from error
            raise reading_failure(error, action, self._at(name)) from error
        start, end = found.range
        if bytes_max is not None and end - start > bytes_max:
            raise refusing_failure(too_large(name), action, self._at(name))
        return found

    def _read_range(
        self, name: str, start: int, end: int | None, version: str, bytes_max: int | None
    ) -> bytes:
        """Raises `StorageError` where another version is there by now."""
        if end is not None and end <= start:
            return b""
        options: dict[str, Any] = {"range": (start, end) if end is not None else {"offset": start}}
        if version:
            options["if_match"] = version
        try:
            found = self._get(name, options, "Reading", bytes_max)
            if version and _version(found.meta) != version:
                # A few stores ignore the condition, as they do with those of changes.
                raise other_version("Reading", self._at(name))
            return bytes(found.bytes())
        except StorageError as error:
            if f"answered {_RANGE_PAST_END}" in error.what:
                return b""
            raise

    def _read_small(self, name: str) -> bytes | None:
        try:
            return self.read(name, bytes_max=SMALL_BYTES)
        except (FileNotFoundError, StorageError):
            return None


class _NotFlatError(Exception):
    """There are folders, so all that is below is not to be asked for."""


def declare(folder: object, address: str) -> BucketStore:
    """The store at an address. Nothing is connected to yet.

    Raises `UsageError` for an address that holds more than a bucket and a prefix: what it would
    hold is a secret, or nothing that a dataset could lie at."""
    _, _, rest = address.partition("://")
    if has_more_than_a_place(rest):
        raise usage_error(
            "The address of a store holds more than a bucket and a prefix.",
            "Write s3://bucket/prefix/name, and give credentials by the environment.",
        )
    check_folder(rest)
    return BucketStore(address)


def _reopen(address: str, is_probed: bool) -> BucketStore:
    return BucketStore(address, is_probed=is_probed)


def _describe(meta: Any) -> Entry:
    return Entry(
        meta["path"], meta["size"], meta["last_modified"].timestamp(), version=_version(meta)
    )


def _version(meta: Any) -> str:
    return meta["e_tag"] or ""
