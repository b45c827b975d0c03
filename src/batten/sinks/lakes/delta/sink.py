"""A table of Delta Lake, in a folder of this machine.

The rows come as files that batten writes and syncs; an entry of the log adds a file and the token,
as a transaction identifier, in one step. See `delta_log` for that step. batten makes it itself,
since the library that reads and writes such tables syncs nothing: a power cut could leave an empty
entry, with which nobody can read the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from batten.errors import RefusedError
from batten.model.disk.destinations.tokens import (
    PublishEnd,
    Token,
    TokenState,
    combine_states,
)
from batten.model.disk.throwaway_names import find_staging_owner
from batten.model.value_class import value_class
from batten.optional import ensure_optional
from batten.sinks.base import AtPath, LedgerPlace, Staged, TableSink
from batten.sinks.lakes.by_key import find_displaced, makes_way, refuse_unknown_key
from batten.sinks.lakes.columns import (
    encode_as,
    fit_rows,
    name_file,
    refuse_columns,
    refuse_foreign,
    refuse_nulls,
    tell_gone,
)
from batten.sinks.lakes.delta.actions import (
    convert,
    identify,
    make_table,
    name_of,
    now_milliseconds,
    number,
    tell,
    widen_table,
)
from batten.sinks.lakes.delta.files import remove_files, replace_files
from batten.sinks.lakes.delta.log import Action, DeltaLog
from batten.sinks.lakes.delta.obstacles import find_obstacle
from batten.sinks.lakes.statistics import describe_columns
from batten.sinks.located import locate_file
from batten.sinks.named import refuse_alike
from batten.sinks.rows.replacing import is_bare, refuse_others, schema_with, stage_with, tell_others
from batten.sinks.rows.revisions import select_lacking
from batten.storage.changing.orphans import find_throwaway
from batten.storage.changing.publishing import create
from batten.storage.relative import last_piece

if TYPE_CHECKING:
    import pyarrow as pa

CHECKPOINT_ENTRIES = 100
"""Where a table says nothing of it."""


@value_class
class DeltaSink(AtPath, TableSink):
    """The table in the folder `path`."""

    path: Path
    kind: ClassVar[str] = "delta"

    def fill(self, fill: Callable[[str], str]) -> DeltaSink:
        return replace(
            self,
            path=Path(fill(str(self.path))),
            dataset=fill(self.dataset),
            where=self.fill_where(fill),
        )

    def check(self) -> None:
        ensure_optional("deltalake", ".write_delta()")

    def open(self, ground: LedgerPlace) -> DeltaDestination:
        return DeltaDestination(self, ground)


class DeltaDestination:
    """See `Destination`."""

    def __init__(self, sink: DeltaSink, ground: LedgerPlace) -> None:
        self._sink, self._key = sink, sink.key
        self._storage, self._name = locate_file(ground.storage, ground.book.target)
        owner = f"{ground.storage.place}\n{ground.layout.output}"
        ours = hashlib.sha256(owner.encode()).hexdigest()[:12]
        self._staging = f"{self._name}/_batten/{ours}"
        log = f"{self._name}/_delta_log"
        self._log = DeltaLog(storage=self._storage, folder=log, lists_files=self._removes)
        self._checked_changes = -1
        self._refuse_other_folder()

    @property
    def _removes(self) -> bool:
        """Whether rows that are there make way for others."""
        return bool(self._sink.key) or self._sink.replaces

    def prepare(self, schema: pa.Schema) -> None:
        schema = schema_with(schema, self._sink.where)
        self._log.read_on()
        for entry in list(find_throwaway(self._storage, self._staging, find_staging_owner)):
            # The ledger's lock says that the writer is dead.
            self._storage.delete(entry.name)
        if self._log.version < 0:
            refuse_alike(self._name, schema.names)
            refuse_unknown_key(self._name, self._key, schema.names)
            first = make_table(schema)
            self._storage.ensure_folder(self._staging)
            self._storage.ensure_folder(self._log.folder)
            self._log.append(self._staging, first)
            self._log.read_on()
        elif self._sink.replaces and is_bare(self._columns().names, schema, self._sink.where):
            self.add_columns(schema)
        self._check(schema)

    def add_columns(self, schema: pa.Schema) -> None:
        self._log.read_on()
        while self._log.version >= 0:
            found = self._columns()
            new = [each.with_nullable(True) for each in schema if each.name not in found.names]
            if not new:
                return
            self._refuse_obstacle()
            refuse_alike(self._name, [*found.names, *(each.name for each in new)])
            self._storage.ensure_folder(self._staging)
            entry = widen_table(self._name, new, self._log.protocol, self._log.metadata)
            self._log.append(self._staging, entry)  # Where another was first, look again.
            self._log.read_on()

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        self._log.read_on()
        found = [self._look_at(token) for token in tokens]
        if TokenState.SAME in found:
            # The process that put it there may have been killed before it was durable.
            self._storage.sync_names(self._name)
            self._storage.sync_names(self._log.folder)
        return found

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        self._log.read_on()
        kept = self._list_outcomes()
        return [
            token
            for token in tokens
            if self._look_at(token) is not TokenState.ABSENT and not kept.get(name_of(token))
        ]

    def publish(self, staged: Staged) -> PublishEnd:
        self._log.read_on()
        if self._log.version < 0:
            raise tell_gone(self._name)
        held = combine_states(map(self._look_at, staged.tokens))
        if held is TokenState.SAME:
            return PublishEnd.LOST_RACE
        self._refuse_others(staged.token, held)
        staged = lacking = stage_with(staged, self._sink.where, self._name)
        if held is TokenState.OTHER and not makes_way(staged, self._sink):
            outcomes = self._list_outcomes().get(name_of(staged.token), "")
            lacking = select_lacking(staged, outcomes, self._name)
        if self._checked_changes != self._log.changes:
            self._check(staged.schema)
        changes = self._change_files(staged, lacking)
        removes = any("remove" in each for each in changes)
        told = tell(lacking, removes=removes, sink=self._sink)
        actions = [told, *identify(staged), *changes]
        if not self._log.append(self._staging, actions):
            return PublishEnd.LOST_RACE
        self._log.read_on()
        if self._log.version % self._find_interval() == 0:
            self._spare_readers()
        return PublishEnd.COMMITTED

    def rehearse(self, staged: Staged) -> None:
        if self._look_at(staged.token) is TokenState.ABSENT:
            refuse = refuse_nulls(self._key)
            fit_rows(staged, staged, self._columns(), self._name, refuse=refuse)

    def close(self) -> None:
        """Nothing is held open."""

    def _spare_readers(self) -> None:
        from deltalake.exceptions import DeltaError

        # If the library can't, nothing is lost: the next try comes after as many entries.
        with suppress(DeltaError, FileNotFoundError):
            self._log.write_checkpoint(self._staging)

    def _find_interval(self) -> int:
        """After how many entries a checkpoint is made."""
        settings = self._log.metadata.get("configuration") or {}
        return max(1, int(settings.get("delta.checkpointInterval", CHECKPOINT_ENTRIES)))

    def _look_at(self, token: Token) -> TokenState:
        found = self._log.versions.get(name_of(token))
        if found is None:
            return TokenState.ABSENT
        return TokenState.SAME if found == number(token) else TokenState.OTHER

    def _list_outcomes(self) -> dict[str, str]:
        """Those that are kept of batches as they are there, by their names (decision 0026)."""
        versions = self._log.versions
        named = (application.rpartition(":") for application in versions)
        return {
            name: outcomes
            for name, _, outcomes in named
            if name in versions and versions[name] == versions[f"{name}:{outcomes}"]
        }

    def _change_files(self, staged: Staged, lacking: Staged) -> list[Action]:
        """What adds the rows that are lacking, and takes away those that make way for them."""
        from batten.sinks.parquet import encode_rows

        added = []
        if lacking.rows:
            refuse = refuse_nulls(self._key)
            columns = self._columns()
            data = encode_as(staged, lacking, columns, self._name, key=self._key, refuse=refuse)
            added = [{"add": self._put(name_file(staged.token, data), data)}]

        def put_left(rows: pa.Table, path: str) -> Action:
            data = encode_rows(rows).to_pybytes()
            return self._put(name_file(staged.token, data, instead_of=path), data)

        displaced = find_displaced(staged, lacking, self._key, self._sink.where)
        now, files = now_milliseconds(), self._log.files
        replaced: list[Action] = []
        if displaced:
            replaced += replace_files(self._storage, self._name, files, displaced, put_left, now)
        elif self._sink.replaces:
            replaced += remove_files(files, now)
        if added and added[0]["add"]["path"] in files:
            # It holds these rows already, and no entry both adds and removes a file.
            path = added[0]["add"]["path"]
            return [each for each in replaced if each.get("remove", {}).get("path") != path]
        return [*replaced, *added]

    def _put(self, name: str, data: bytes) -> Action:
        """A file, durable in the folder of the table, and what adds it."""
        create(self._storage, self._staging, f"{self._name}/{name}", data)
        return {
            "path": name,
            "partitionValues": {},
            "size": len(data),
            "modificationTime": now_milliseconds(),
            "dataChange": True,
            "stats": json.dumps(describe_columns(data), separators=(",", ":")),
        }

    def _columns(self) -> pa.Schema:
        import deltalake
        import pyarrow as pa

        return pa.schema(deltalake.Schema.from_json(self._log.metadata["schemaString"]).to_arrow())

    def _check(self, schema: pa.Schema) -> None:
        """Make ready to add files of this schema. Raises `RefusedError` if that is not all that
        the table asks for."""
        refuse_unknown_key(self._name, self._key, schema.names)
        self._refuse_obstacle()
        refuse_columns(self._name, convert(schema), self._columns())
        self._storage.ensure_folder(self._staging)
        self._checked_changes = self._log.changes

    def _refuse_obstacle(self) -> None:
        problem = find_obstacle(self._log.protocol, self._log.metadata, removes=self._removes)
        if problem:
            raise refuse_foreign(self._name, problem)

    def _refuse_others(self, token: Token, held: TokenState) -> None:
        """Raises `RefusedError` where all is to be replaced, and some of it may be others'."""
        if not self._sink.replaces or self._sink.where:
            return
        known = [name.split(":", 1)[1] for name in self._log.versions if name.startswith("batten:")]
        own = f"{token.dataset}:"
        other = next((name.rpartition(":")[0] for name in known if not name.startswith(own)), "")
        is_empty = held is not TokenState.ABSENT or not self._log.files
        if told := tell_others(other, is_empty=is_empty):
            raise refuse_others(self._name, told)

    def _refuse_other_folder(self) -> None:
        entry = self._storage.find(self._name)
        if entry is None:
            return
        if not entry.is_folder:
            names = ["a file"]
        elif self._storage.find(self._log.folder) is not None:
            return
        else:
            found = map(last_piece, self._storage.list_names(self._name))
            names = [name for name in found if name != "_batten"]
        if names:
            raise RefusedError(
                f"{self._name} is no table of Delta Lake: {min(names)} is there, and no log.",
                safe="It was not touched.",
                next="Move it away and run again, or write to another folder.",
            )
