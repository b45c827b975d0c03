"""A model of an object store that holds one grown dataset, and counts what is asked of it.

A million parts and their records are not kept anywhere: they are made of those of one real batch
when they are asked for. Roll-ups are made before, and lie in files. So what is measured is what
batten does with them, and the listings.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import batten
from batten.drive.run import run_on
from batten.inspect.diagnose import diagnose_place
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.batches.rolled_sums import encode_rolled
from batten.model.disk.names import Layout, find_part
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Segment,
    decode_record,
    encode_record,
)
from batten.model.disk.rolled import ROLLED_BATCHES, span_of
from batten.run.run_options import RunOptions
from batten.storage.base import READ_BYTES_MAX, Entry, Got, PutAnswer
from batten.storage.relative import last_piece
from batten.storage.twin.objects import ChangeRequest, ObjectServer, ObjectStorage

LAYOUT = Layout("features", is_shared=True)
BATCH_SIZE = 1000
_PAGE = 1000
"""So many names a listing gives at a time."""
_NAME_BYTES = 300
"""What a listing says of one object, about."""
_SECONDS = 1_800_000_000.0


def double(number: int) -> dict[str, int]:
    return {"double": number * 2}


@dataclass
class Asked:
    """What was asked of a store."""

    lists: int = 0
    gets: int = 0
    changes: int = 0
    bytes: int = 0


class GrownStore(ObjectStorage):
    """Holds the dataset of `batches` batches, complete or without its last record. With `is_rolled`
    it has a roll-up of the records of each thousand."""

    def __init__(self, batches: int, *, is_complete: bool, is_rolled: bool = False) -> None:
        self.asked = Asked()
        self._batches = batches
        super().__init__(ObjectServer())
        made = batten.from_range(BATCH_SIZE).map(double).options(batch_size=BATCH_SIZE)
        small = ObjectStorage(ObjectServer())
        run_on(small, made.write_parquet("/features"), RunOptions(jobs=1, executor="serial"))
        kept = {
            name: found.data
            for name, found in small.server.objects.items()
            if name != LAYOUT.part(0) and "/runs/" not in name
        }
        record, complete = (
            next(name for name in kept if name.startswith(start))
            for start in (f"{LAYOUT.commits}/", f"{LAYOUT.complete}-")
        )
        self._part = len(small.server.objects[LAYOUT.part(0)].data)
        self._record = decode_record(CommitRecord, kept.pop(record))
        self._grow(kept, decode_record(Completion, kept.pop(complete)), is_complete)
        for name, data in kept.items():
            self.put_new(name, data)
        self._rolled: dict[str, Path] = {}
        self._folder = TemporaryDirectory()
        for number in range(batches // ROLLED_BATCHES if is_rolled else 0):
            records = [self._make_record(_commit(batch)) for batch in span_of(number)]
            path = Path(self._folder.name) / f"{number}"
            path.write_bytes(encode_rolled(number, records))
            self._rolled[LAYOUT.rolled_up(number, map(_version, span_of(number)))] = path
        self.begin()

    def _grow(self, kept: dict[str, bytes], one: Completion, is_complete: bool) -> None:
        """What is said of one batch is said of all."""
        count = self._batches * BATCH_SIZE
        segment = decode_record(Segment, kept[LAYOUT.segment(0)])
        kept[LAYOUT.segment(0)] = encode_record(replace(segment, items=count))
        if is_complete:
            name = LAYOUT.complete_of(1, map(_version, range(self._batches)), {})
            sizes = [self._part + batch for batch in range(self._batches)]
            all_of = replace(one, source=count, committed=count, rows=count, part_sizes=sizes)
            kept[name] = encode_record(all_of)

    def list(self, folder: str) -> Iterator[Entry]:
        if folder == LAYOUT.data:
            entries: Iterable[Entry] = map(self._describe_part, range(self._batches))
        elif folder == LAYOUT.commits:
            entries = self._list_commits()
        elif folder == LAYOUT.rolled:
            entries = [Entry(n, p.stat().st_size, _SECONDS) for n, p in self._rolled.items()]
        elif folder == LAYOUT.control and self._rolled:
            entries = [*super().list(folder), Entry(LAYOUT.rolled, 0, _SECONDS, "folder")]
        else:
            entries = super().list(folder)
        return self._count(entries)

    def list_names_after(self, folder: str, after: str) -> Iterator[str]:
        entries = self._list_commits(int(after))
        assert folder == LAYOUT.commits
        return (last_piece(entry.name) for entry in self._count(entries))

    def _list_commits(self, first: int = 0) -> Iterator[Entry]:
        return (Entry(name, 500, _SECONDS) for name in map(_commit, range(first, self._batches)))

    def _count(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """They are told by pages."""
        count = 0
        for count, entry in enumerate(entries, 1):
            if count % _PAGE == 1:
                self.asked.lists += 1
            yield entry
        self.asked.lists += not count
        self.asked.bytes += count * _NAME_BYTES

    def find(self, name: str) -> Entry | None:
        self.asked.gets += 1
        batch = find_part(last_piece(name))
        if batch is not None:
            return self._describe_part(batch)
        return super().find(name)

    def get(self, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        if name.startswith(f"{LAYOUT.commits}/"):
            found = Got(self._make_record(name), "1")
        elif name in self._rolled:
            found = Got(self._rolled[name].read_bytes(), "1")
        else:
            found = super().get(name, bytes_max=bytes_max)
        self.asked.gets += 1
        self.asked.bytes += len(found.data)
        return found

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        if name not in self._rolled:
            return self.get(name, bytes_max=bytes_max).data
        with self._rolled[name].open("rb") as file:
            file.seek(offset)
            data = file.read(-1 if length is None else length)
        self.asked.gets += 1
        self.asked.bytes += len(data)
        return data

    def open(self, name: str) -> BinaryIO:
        raise NotImplementedError(name)

    def _change(self, change: ChangeRequest) -> PutAnswer:
        self.asked.changes += 1
        if change.name.startswith(f"{LAYOUT.staged}/"):
            # The run has begun, and done an item. At its end it would read all records.
            self.tell()
            sys.stdout.flush()
            os._exit(0)
        return super()._change(change)

    def begin(self) -> None:
        """From now on it is measured."""
        self.asked, self._began = Asked(), time.process_time()

    def tell(self) -> None:
        seconds = time.process_time() - self._began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({**asdict(self.asked), "seconds": seconds, "mebibytes": peak}))

    def _describe_part(self, batch: int) -> Entry:
        return Entry(LAYOUT.part(batch), self._part + batch, _SECONDS, version=_version(batch))

    def _make_record(self, name: str) -> bytes:
        batch = int(last_piece(name).partition("-")[0])
        first = batch * BATCH_SIZE
        keys, size = f"ordinals:{first}-{first + BATCH_SIZE}", self._part + batch
        return encode_record(replace(self._record, batch=batch, keys=keys, size=size))


def _version(batch: int) -> str:
    return f'"{batch:032x}"'


def _commit(batch: int) -> str:
    return LAYOUT.commit(batch, _version(batch))


def main() -> None:
    state, batches = sys.argv[1], int(sys.argv[2])
    is_complete, is_rolled = state in ("complete", "start"), state != "unrolled"
    store = GrownStore(batches, is_complete=is_complete, is_rolled=is_rolled)
    store.begin()
    if state in ("start", "going_on"):
        items = (batches + (state == "going_on")) * BATCH_SIZE
        made = batten.from_range(items).map(double).options(batch_size=BATCH_SIZE)
        run_on(store, made.write_parquet("/features"), RunOptions(jobs=1, executor="serial"))
    else:
        diagnose_place(Place(storage=store, layout=LAYOUT, path="/features", folder="/"))
    store.tell()


if __name__ == "__main__":
    main()
