"""Which keys of a source are planned, new, or duplicates, however many there are.

One table of all keys would grow with them. So a digest deals each key to one of many shards, and a
shard is so small that a table of it fits into memory. The source is taken in rounds, each as large
as all that is known before it: so each shard is read a few times, not once for each key. The
answers of a shard lie in the order of its keys. They are merged with the rows of the round, which
are read back meanwhile (decision 0155).

What is more than a few megabytes lies in temporary files of this machine. These have no names, and
go with the process.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from itertools import accumulate, islice
from struct import Struct
from types import TracebackType
from typing import IO

from batten.plan.storing import Row
from batten.sources.base import SCAN_BLOCK_ITEMS
from batten.storage.failures import writing_failure

SHARDS = 1 << 12
_DIGEST_BYTES = 16
"""That two of ten billion keys agree in all of them has a chance of one in 10^18."""

_MEMORY_BYTES = 1 << 22
"""So much of each kind is held before it goes to a file."""

_PIECE_RECORDS = 256
_LENGTH = Struct("<Q")
_PLANNED = Struct("<qq8s")

Known = tuple[int, int, bytes]
"""A planned item: its number, its position and its version."""

DUPLICATE: Known = (-2, 0, bytes(8))
_NEW: Known = (-1, 0, bytes(8))
_PACKED_DUPLICATE, _PACKED_NEW = _PLANNED.pack(*DUPLICATE), _PLANNED.pack(*_NEW)


class KeyShards:
    """First all planned keys are added, then the rows of the source are looked up. Used as a
    context, which ends its files."""

    def __init__(self) -> None:
        self._planned = _Dealt(_DIGEST_BYTES + _PLANNED.size)
        self._met = _Dealt(_DIGEST_BYTES)
        self._count = 0
        self._files = ExitStack()

    def __enter__(self) -> KeyShards:
        self._files.enter_context(self._planned)
        self._files.enter_context(self._met)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def add_planned(self, key: str, known: Known, *, is_met: bool) -> None:
        """A key of the plan. `is_met`: the source had it already."""
        digest = _digest(key)
        self._count += 1
        if is_met:
            self._met.put(_shard_of(digest), digest)
        else:
            self._planned.put(_shard_of(digest), digest + _PLANNED.pack(*known))

    def look_up(self, rows: Iterator[Row]) -> Iterator[tuple[Row, Known | None]]:
        """The rows in their order: each with what is planned of it, with None where its key is new,
        or with `DUPLICATE` where it came before."""
        while True:
            with _Rows() as taken, _Dealt(_DIGEST_BYTES) as asked, _Dealt(_PLANNED.size) as answers:
                self._take(islice(rows, max(self._count, SCAN_BLOCK_ITEMS)), taken, asked)
                if not taken.count:
                    return
                self._count += taken.count
                self._answer(asked, answers)
                merged = [answers.read(shard) for shard in range(SHARDS)]
                for row, shard in taken:
                    answer = next(merged[shard])
                    if answer == _PACKED_NEW:
                        yield row, None
                    elif answer == _PACKED_DUPLICATE:
                        yield row, DUPLICATE
                    else:
                        yield row, _PLANNED.unpack(answer)

    def _take(self, rows: Iterator[Row], taken: _Rows, asked: _Dealt) -> None:
        while block := list(islice(rows, SCAN_BLOCK_ITEMS)):
            digests = [_digest(row[0] or "") for row in block]
            shards = array("H", map(_shard_of, digests))
            taken.add(block, shards)
            for shard, digest in zip(shards, digests, strict=True):
                asked.put(shard, digest)

    def _answer(self, asked: _Dealt, answers: _Dealt) -> None:
        for shard in range(SHARDS):
            left = list(asked.read(shard))
            if not left:
                continue
            planned = {
                record[:_DIGEST_BYTES]: record[_DIGEST_BYTES:]
                for record in self._planned.read(shard)
            }
            met = set(self._met.read(shard))
            # Of a digest that comes twice, only the first is new.
            new = list(dict.fromkeys(digest for digest in left if digest not in met))
            self._met.put(shard, b"".join(new))
            first = {digest: planned.get(digest, _PACKED_NEW) for digest in new}
            found = [first.pop(digest, _PACKED_DUPLICATE) for digest in left]
            answers.put(shard, b"".join(found))


class _Dealt:
    """Records of one size, dealt to shards and read a shard at a time, in the order in which they
    were put there."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._file: IO[bytes] | None = None
        self._end = 0
        self._runs: list[array[int]] = []
        self._empty()

    def __enter__(self) -> _Dealt:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, shard: int, records: bytes) -> None:
        self._waiting[shard] += records
        self._left -= len(records)
        if self._left <= 0:
            self._write()

    def read(self, shard: int) -> Iterator[bytes]:
        for run in self._runs:
            start, stop = run[shard], run[shard + 1]
            for at in range(start, stop, self._piece):
                yield from self._cut(self._read_at(at, min(self._piece, stop - at)))
        yield from self._cut(bytes(self._waiting[shard]))

    @property
    def _piece(self) -> int:
        return _PIECE_RECORDS * self._size

    def _cut(self, data: bytes) -> Iterable[bytes]:
        size = self._size
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _empty(self) -> None:
        self._waiting = [bytearray() for _ in range(SHARDS)]
        self._left = _MEMORY_BYTES

    def _write(self) -> None:
        """All that waits, as one run."""
        with _writing():
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            data = memoryview(b"".join(self._waiting))
            while data:
                data = data[self._file.write(data) :]
        run = array("Q", accumulate(map(len, self._waiting), initial=self._end))
        self._runs.append(run)
        self._end = run[-1]
        self._empty()

    def _read_at(self, at: int, size: int) -> bytes:
        if self._file is None:
            raise RuntimeError("there is no run without a file")
        with _writing():
            return os.pread(self._file.fileno(), size, at)


class _Rows:
    """Rows put aside with their shards, read back in their order."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: list[Row], shards: array[int]) -> None:
        data = marshal.dumps((rows, shards.tobytes()))
        with _writing():
            self._file.write(_LENGTH.pack(len(data)) + data)
        self.count += len(rows)

    def __iter__(self) -> Iterator[tuple[Row, int]]:
        with _writing():
            self._file.seek(0)
        while length := self._read(_LENGTH.size):
            rows, shards = marshal.loads(self._read(*_LENGTH.unpack(length)))
            yield from zip(rows, array("H", shards), strict=True)

    def _read(self, size: int) -> bytes:
        with _writing():
            return self._file.read(size)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise writing_failure(
            error, "Writing a temporary file in", tempfile.gettempdir()
        ) from error


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=_DIGEST_BYTES).digest()


def _shard_of(digest: bytes) -> int:
    return (digest[0] << 8 | digest[1]) % SHARDS
