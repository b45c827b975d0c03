"""What published batches say of themselves: in records, else in the footers of their parts."""

from __future__ import annotations

from collections.abc import Iterable

from batten.errors import StorageError
from batten.ledger.facts.batches.listed_parts import list_parts
from batten.ledger.facts.batches.part_footers import published_by_footer_of
from batten.ledger.facts.noted_reads import NotedReads
from batten.model.disk.names import Layout
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import NewerFormat, Unreadable
from batten.model.rules.findings import Code
from batten.storage.base import Store
from batten.storage.relative import last_piece


class ClaimReads(NotedReads):
    """Reads claims, by batch, and notes what can't be read. `_versions` are those of the parts.

    Each record is a file of its own, and in a store a request, unless it is rolled up."""

    def __init__(self, storage: Store, layout: Layout) -> None:
        super().__init__(storage, layout)
        _, self._versions = list_parts(())

    def read_claims(self, recorded: Iterable[int], parts: Iterable[int]) -> dict[int, Published]:
        claims = {}
        folder, batches = self.layout.commits, sorted(recorded)
        if self.layout.is_shared:
            batches = [batch for batch in batches if batch in self._versions]
        names = [last_piece(self._commit_of(batch)) for batch in batches]
        for batch, data in zip(batches, self.storage.read_each(folder, names), strict=True):
            try:
                claim = decode_published(data) if data is not None else self._read_record(batch)
            except Unreadable:
                claim = self._read_record(batch)
            if claim is not None:
                claims[batch] = claim
        for batch in sorted(set(parts).difference(claims)):
            claim = self._read_footer(batch)
            if claim is not None:
                claims[batch] = claim
        return claims

    def _read_record(self, batch: int) -> Published | None:
        name = self._commit_of(batch)
        return self._decode(name, Code.UNREADABLE_RECORD, decode_published, batch)

    def _commit_of(self, batch: int) -> str:
        return self.layout.commit(batch, self._versions.get(batch, ""))

    def _read_footer(self, batch: int) -> Published | None:
        name = self.layout.part(batch)
        try:
            return published_by_footer_of(self.storage, name)
        except NewerFormat as error:
            self._note(Code.NEWER_FORMAT, name, str(error), batch)
        except (Unreadable, StorageError, FileNotFoundError) as error:
            self._note_error(Code.UNREADABLE_PART, name, error, batch)
        return None
