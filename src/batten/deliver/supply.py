"""What the ledger of a run has to give: its sealed batches, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.ledger.contents import load_commit
from batten.ledger.files.parts import Parts
from batten.ledger.files.schema_file import list_added, load_schema
from batten.model.disk.destinations.tokens import Token, digest_of_all
from batten.model.disk.published import Published
from batten.model.disk.records import Config, decode_record
from batten.plan.planned_items import PlannedItems
from batten.run.context import Context
from batten.sinks.base import Staged

if TYPE_CHECKING:
    import pyarrow as pa


class Supply:
    """The batches of one ledger, under the name that its rows have at a destination."""

    def __init__(self, context: Context, dataset: str) -> None:
        self._context = context
        self.dataset = dataset or context.layout.output
        self.items: PlannedItems | None = None
        self._parts: Parts | None = None
        self._has_columns = False

    @property
    def folder(self) -> Path:
        """The folder of the output: targets are written relative to it."""
        output = self._context.pipeline.output
        return output.parent if output is not None else Path()

    def load_commit(self, batch: int) -> Published:
        context = self._context
        return load_commit(context.storage, context.layout, batch, context.path)

    def load_given(self, batch: int) -> Published:
        """As destinations may have it. Of a reopened batch the marker tells that."""
        context, storage, layout = self._context, self._context.storage, self._context.layout
        is_reopened = storage.find(layout.commit(batch)) is None
        return load_commit(storage, layout, batch, context.path, is_reopened=is_reopened)

    def key_of(self, batch: int, item: int = 0) -> str:
        """That of an item, by its number in the batch; empty before the plan is known."""
        return self.items.key(batch, item) if self.items else ""

    def token(self, commit: Published, *, key: str = "") -> Token:
        return Token(
            dataset=self.dataset,
            batch=commit.batch,
            digest=str(commit.digest),
            fingerprint=commit.fingerprint,
            key=key,
        )

    def token_of_all(self, batches: int) -> Token:
        digests = [str(self.load_commit(batch).digest) for batch in range(batches)]
        return Token(dataset=self.dataset, batch=None, digest=digest_of_all(digests))

    def read_schema(self, batch: int) -> pa.Schema:
        return self._select([self.load_commit(batch)]).read_schema()

    def has_columns(self) -> bool:
        """Whether it is known which columns rows have beside the key."""
        storage, name = self._context.storage, self._context.layout.schema
        self._has_columns = self._has_columns or (
            storage.find(name) is not None and bool(load_schema(storage, name).names)
        )
        return self._has_columns

    def list_added(self) -> list[str]:
        """The columns that rows of before have not had."""
        return list_added(self._context.storage, self._context.layout.schema)

    def stage(self, commit: Published, token: Token) -> Staged:
        parts = self._select([commit])
        layout, storage = self._context.layout, self._context.storage
        return Staged(
            token=token,
            schema=parts.read_schema(),
            batches=commit.batch + 1,
            rows=commit.rows,
            outcomes=commit.outcomes,
            read=parts.read_batches,
            load=lambda: storage.read(layout.part(commit.batch), bytes_max=None),
            load_item=partial(self._load_item, commit.batch),
            revision=commit.revision,
            load_keys=partial(self._list_keys, commit.batch),
        )

    def stage_all(self, batches: int) -> Staged:
        commits = [self.load_commit(batch) for batch in range(batches)]
        parts = self._select(commits)
        return Staged(
            token=self.token_of_all(batches),
            schema=parts.read_schema(),
            batches=batches,
            rows=sum(commit.rows for commit in commits),
            outcomes="",
            read=parts.read_batches,
            load=partial(_encode_all, parts),
        )

    def _list_keys(self, batch: int) -> list[str]:
        if self.items is None:
            raise LookupError("the plan is not known yet")
        return self.items.list_keys(batch)

    def _load_item(self, batch: int) -> Any:
        if self.items is None:
            raise LookupError("the plan is not known yet")
        return self.items.load(batch)

    def _select(self, commits: Iterable[Published]) -> Parts:
        if self._parts is None:
            context = self._context
            self._parts = Parts(
                storage=context.storage,
                layout=context.layout,
                path=context.path,
                config=decode_record(Config, context.storage.read(context.layout.config)),
                sizes={},
                is_keyed=context.pipeline.source.is_keyed,
            )
        return replace(self._parts, sizes={each.batch: each.size or 0 for each in commits})


def _encode_all(parts: Parts) -> bytes:
    import pyarrow as pa

    from batten.sinks.parquet import encode_rows

    rows = pa.Table.from_batches(parts.read_batches(), schema=parts.read_schema())
    encoded: bytes = encode_rows(rows).to_pybytes()
    return encoded
