"""The rows of a dataset, as items of another one (decision 0093).

A batch is read where its digest is not the one of the last look. Of a row the key is that of the
item upstream; where an item has several rows, those after the first have keys of their own, made of
it. The version of a row is its content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from batten.chain.ready import changed_upstream, refuse_unready
from batten.chain.rows import DatasetReader, NamedRows
from batten.errors import RefusedError
from batten.inspect.paths.output_path import Place, locate_output
from batten.jobs.loading.job_folder import show_path
from batten.ledger.contents import ClosedDataset, find_contents, load_commits
from batten.ledger.upstream import list_digests
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.sources.base import POSITION_BITS, SCAN_BLOCK_ITEMS, ScanBlock, SourceBatch
from batten.sources.identity.keys import escape_key, require_columns, require_field_name
from batten.sources.identity.versions import check_changed
from batten.sources.records.input_files import find_place
from batten.storage.digests import digest_file
from batten.storage.failures import OtherVersionError


class DatasetSource:
    """The rows of the dataset at `path`, as dicts, in the order of its parts.

    `columns` are the columns that items have; None means all. Without `key` the key is that of the
    dataset; of one that has none, a finalized one, it is the number of the row.
    """

    is_keyed = True
    is_counted = False
    has_kinds = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        folder: Path,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        changed: str = "content",
        removed: str = "drop",
    ) -> None:
        check_changed("from_dataset", changed, removed)
        self._is_compared = changed == "content"
        self.drops_gone = removed == "drop"
        self._path, self._written = find_place(path, folder)
        self._key = require_field_name(key)
        self._columns = require_columns(columns)

    @property
    def identity(self) -> dict[str, str]:
        identity = {"source": f"dataset {escape_key(self._written)}"}
        if self._key is not None:
            identity["key"] = self._key
        if self._columns is not None:
            identity["columns"] = json.dumps(self._columns)
        return identity

    @property
    def inputs(self) -> tuple[Path | str, ...]:
        return (self._path,)

    @property
    def place(self) -> Path | str:
        return self._path

    def count_items(self) -> int | None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        state = self.begin_look()
        for batch in self.list_batches():
            yield from self.scan_batch(batch)
        self.end_look(state)

    def open(self) -> DatasetReader:
        place = self._locate()
        return DatasetReader(place, self._name_rows(place))

    def refuse_unready(self) -> None:
        refuse_unready(self._path)

    def begin_look(self) -> str:
        contents = self._find_contents(self._locate())
        if contents is None:
            self.refuse_unready()
            raise self._changed()
        return contents.state

    def end_look(self, state: str) -> None:
        contents = self._find_contents(self._locate())
        if contents is None or contents.state != state:
            raise self._changed()

    def list_batches(self) -> list[SourceBatch]:
        place = self._locate()
        contents = self._find_contents(place)
        if contents is None:
            raise self._changed()
        names = self._name_rows(place)
        batches = []
        start = 0
        claims = load_commits(place.storage, place.layout, contents, place.path)
        for number, claim in enumerate(claims):
            ending = "" if names.key else f" from {start}"
            digest, *earlier = (f"{each}{ending}" for each in list_digests(claim))
            batches.append(
                SourceBatch(number=number, digest=digest, rows=claim.rows, earlier=earlier)
            )
            start += claim.rows
        return batches

    def scan_batch(self, batch: SourceBatch) -> Iterator[ScanBlock]:
        place = self._locate()
        digest, _, start = batch.digest.partition(" from ")
        part = place.layout.part(batch.number)
        try:
            if digest_file(place.storage, part) != digest:
                raise self._damaged(place, part)
            rows = DatasetReader(place, self._name_rows(place)).load(batch.number, int(start or 0))
        except (FileNotFoundError, OtherVersionError) as error:
            raise self._changed() from error
        base = batch.number << POSITION_BITS
        for first in range(0, len(rows.keys), SCAN_BLOCK_ITEMS):
            keys = rows.keys[first : first + SCAN_BLOCK_ITEMS]
            stop = first + len(keys)
            yield ScanBlock(
                count=len(keys),
                keys=keys,
                positions=range(base + first, base + stop),
                digests=rows.digests(first, stop) if self._is_compared else None,
            )

    def _locate(self) -> Place:
        return locate_output(show_path(self._path))

    def _find_contents(self, place: Place) -> ClosedDataset | None:
        try:
            return find_contents(place.storage, place.layout)
        except Unreadable as error:
            raise self._changed() from error

    def _name_rows(self, place: Place) -> NamedRows:
        try:
            config = decode_record(Config, place.storage.read(place.layout.config))
        except (FileNotFoundError, Unreadable) as error:
            raise self._changed() from error
        return NamedRows(
            key=self._key or config.key_column,
            is_own=self._key is None,
            columns=self._columns,
            is_compared=self._is_compared,
        )

    def _changed(self) -> RefusedError:
        return changed_upstream(show_path(self._path))

    def _damaged(self, place: Place, part: str) -> RefusedError:
        return RefusedError(
            f"{place.show(part)} is not what its dataset published: its digest differs.",
            safe="Nothing was changed, and no row of it was used.",
            next=f"See what is damaged there: {place.command('verify')}",
        )
