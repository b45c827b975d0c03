"""A table of Iceberg, in a catalogue.

The rows come as files that batten writes and syncs. One commit adds a file and the token, as a
property of the table, which outlives the snapshots. It is made on the snapshot on which the token
was looked for, and never again by itself: then another might have been quicker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from batten.errors import BattenError, refused_there, usage_error
from batten.fingerprint.secret import Secret
from batten.model.disk.destinations.targets import show_base, show_table
from batten.model.disk.destinations.tokens import (
    PublishEnd,
    Token,
    TokenState,
    combine_states,
)
from batten.model.disk.throwaway_names import find_staging_owner
from batten.model.telling.hiding import is_secret
from batten.model.value_class import value_class
from batten.optional import ensure_optional
from batten.sinks.base import (
    LedgerPlace,
    RejectedBatchesError,
    RejectedError,
    Staged,
    TableSink,
)
from batten.sinks.databases.sqlite_commits import make_commits_durable
from batten.sinks.databases.watchdog import Answer, advise_waiting, await_answer
from batten.sinks.failures import refused, unreached
from batten.sinks.lakes.by_key import find_displaced, makes_way, refuse_unknown_key
from batten.sinks.lakes.columns import (
    Refuse,
    encode_as,
    find_far_times,
    fit_rows,
    name_file,
    refuse_columns,
    refuse_foreign,
    refuse_nulls,
    refuse_type,
    tell_gone,
)
from batten.sinks.lakes.iceberg.catalog import (
    ensure_catalog,
    ensure_namespace,
    find_catalog,
    list_errors,
)
from batten.sinks.lakes.iceberg.commit import commit_batch, find_others, find_outcomes, look_at
from batten.sinks.lakes.iceberg.places import find_database, find_places
from batten.sinks.named import refuse_alike
from batten.sinks.rows.replacing import is_bare, refuse_others, schema_with, stage_with
from batten.sinks.rows.revisions import select_lacking
from batten.storage.changing.orphans import find_throwaway
from batten.storage.changing.publishing import create
from batten.storage.local.folder import LocalStorage
from batten.storage.relative import folder_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

_OTHERS_MAX = 9
"""So many others may change a table, one after the other, while a column is added to it."""


@value_class
class IcebergSink(TableSink):
    """`table` (`namespace.table`) of the catalogue that is configured as `catalog`, or that the
    `properties` describe. `timeout_seconds` is the longest that one of its answers may take."""

    table: str
    catalog: str
    properties: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 60.0
    kind: ClassVar[str] = "iceberg"

    def fill(self, fill: Callable[[str], str]) -> IcebergSink:
        return replace(
            self, table=fill(self.table), dataset=fill(self.dataset), where=self.fill_where(fill)
        )

    def describe(self, folder: Path) -> str:
        address = urlsplit(self.read_properties().get("uri", ""))
        place = f"{address.hostname or ''}{address.path}"
        return show_table(self.table, f"catalogue {show_base(self.catalog, place)}")

    def identify(self) -> str:
        return self.describe(Path())

    @property
    def places(self) -> tuple[Path, ...]:
        """The files and folders of this machine that it changes."""
        return tuple(find_places(self.properties, self.table))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return tuple(each.name for each in self.properties.values() if isinstance(each, Secret))

    def read_properties(self) -> dict[str, str]:
        """The properties themselves, to connect with and never to be shown."""
        given = self.properties.items()
        return {name: each() if isinstance(each, Secret) else each for name, each in given}

    def check(self) -> None:
        if not self.table.rpartition(".")[0].strip("."):
            raise usage_error(
                f"{self.table!r} names no namespace.",
                'Put it before the table: .write_iceberg("namespace.table").',
            )
        ensure_optional("pyiceberg", ".write_iceberg()", package="'pyiceberg[sql-sqlite]'")

    def open(self, ground: LedgerPlace) -> IcebergDestination:
        return IcebergDestination(self, ground)


class IcebergDestination:
    """See `Destination`. A catalogue in a database that is not there is made by `prepare`."""

    def __init__(self, sink: IcebergSink, ground: LedgerPlace) -> None:
        self._sink = sink
        self._target = ground.book.target
        owner = f"{ground.storage.place}\n{ground.layout.output}"
        self._ours = hashlib.sha256(owner.encode()).hexdigest()[:12]
        self._storage = LocalStorage("/")
        self._schema_id: int | None = None
        self._catalog: Catalog | None = None
        with self._translated("Opening"):
            self._catalog = self._await(lambda: find_catalog(sink.catalog, sink.read_properties()))

    def prepare(self, schema: pa.Schema) -> None:
        schema = schema_with(schema, self._sink.where)
        with self._translated("Preparing"):
            converted = _convert(schema)
            self._catalog = self._await(lambda: self._make(converted))
            table = self._load()
            staging = self._staging(table)
            for entry in list(find_throwaway(self._storage, staging, find_staging_owner)):
                # The ledger's lock says that the writer is dead.
                self._storage.delete(entry.name)
            columns = table.schema().column_names
            if not (self._sink.replaces and is_bare(columns, schema, self._sink.where)):
                self._check(table, schema)
                return
        self.add_columns(schema)
        with self._translated("Preparing"):
            self._check(self._load(), schema)

    def add_columns(self, schema: pa.Schema) -> None:
        if self._catalog is None or not self._ask_there():
            return
        from pyiceberg.exceptions import CommitFailedException

        with self._translated("Preparing"):
            for _ in range(_OTHERS_MAX):
                with suppress(CommitFailedException):
                    self._widen(schema)
                    return
            self._widen(schema)

    def _widen(self, schema: pa.Schema) -> None:
        """Raises `CommitFailedException` where another has changed the table meanwhile."""
        table = self._load()
        found = table.schema().column_names
        new = [each.with_nullable(True) for each in schema if each.name not in found]
        if new:
            refuse_alike(self._target, [*found, *(each.name for each in new)])
            self._await(lambda: _widen_table(table, new))

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        properties = self._ask()
        found = [look_at(properties, token) for token in tokens]
        if TokenState.SAME in found and (database := find_database(self._sink.read_properties())):
            make_commits_durable(database)
        return found

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        properties = self._ask() if tokens else {}
        return [
            token
            for token in tokens
            if look_at(properties, token) is not TokenState.ABSENT
            and not find_outcomes(properties, token)
        ]

    def publish(self, staged: Staged) -> PublishEnd:
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

        sink = self._sink
        with self._translated("Publishing to"):
            table = self._load()
            held = combine_states(look_at(table.properties, each) for each in staged.tokens)
            if held is TokenState.SAME:
                return PublishEnd.LOST_RACE
            is_emptied = sink.replaces and not sink.where
            if is_emptied and (told := find_others(table, staged.token)):
                raise refuse_others(self._target, told)
            staged = lacking = stage_with(staged, sink.where, self._target)
            if held is TokenState.OTHER and not makes_way(staged, sink):
                outcomes = find_outcomes(table.properties, staged.token)
                lacking = select_lacking(staged, outcomes, self._target)
            self._check(table, staged.schema)
            location = self._put(table, staged, lacking) if lacking.rows else None
            displaced = find_displaced(staged, lacking, sink.key, sink.where)

            def commit() -> None:
                commit_batch(table, staged, location, displaced, is_emptied=is_emptied)

            try:
                self._await(commit)
            except CommitFailedException:
                return PublishEnd.LOST_RACE
            except CommitStateUnknownException:
                return PublishEnd.UNKNOWN
            return PublishEnd.COMMITTED

    def rehearse(self, staged: Staged) -> None:
        with self._translated("Publishing to"):
            table = self._load()
            if look_at(table.properties, staged.token) is TokenState.ABSENT:
                theirs = table.schema().as_arrow()
                fit_rows(staged, staged, theirs, self._target, refuse=self._refuse(staged))

    def close(self) -> None:
        if self._catalog is not None:
            with suppress(Exception):
                self._catalog.close()

    def _load(self) -> Table:
        from pyiceberg.exceptions import NoSuchTableError

        catalog = self._catalog
        if catalog is None:
            raise NoSuchTableError(self._sink.table)
        return self._await(lambda: catalog.load_table(self._sink.table))

    def _make(self, schema: Schema) -> Catalog:
        """The catalogue, with namespace and table."""
        catalog = self._catalog or ensure_catalog(self._sink.catalog, self._sink.read_properties())
        try:
            self._make_table(catalog, schema)
        except BaseException:
            if catalog is not self._catalog:
                catalog.close()
            raise
        return catalog

    def _make_table(self, catalog: Catalog, schema: Schema) -> None:
        refuse_unknown_key(self._target, self._sink.key, [each.name for each in schema.fields])
        ensure_namespace(catalog, self._sink.table.rpartition(".")[0])
        if not catalog.table_exists(self._sink.table):
            refuse_alike(self._target, [field.name for field in schema.fields])
        catalog.create_table_if_not_exists(self._sink.table, schema)

    def _await(self, ask: Callable[[], Answer]) -> Answer:
        """A commit that is given up may come yet, while the snapshot that it is made on is the
        last: so not beside another one of the same batch."""
        return await_answer(ask, self._sink.timeout_seconds)

    def _ask(self) -> Mapping[str, str]:
        """The properties of the table; none if it is not there."""
        from pyiceberg.exceptions import NoSuchTableError

        with self._translated("Asking"):
            try:
                return self._load().properties
            except NoSuchTableError:
                return {}

    def _ask_there(self) -> bool:
        catalog = self._catalog
        with self._translated("Asking"):
            return catalog is not None and self._await(
                lambda: catalog.table_exists(self._sink.table)
            )

    def _put(self, table: Table, staged: Staged, lacking: Staged) -> str:
        """Where the file of a batch lies, durable."""
        theirs, key = table.schema().as_arrow(), self._sink.key
        refuse = self._refuse(staged)
        data = encode_as(staged, lacking, theirs, self._target, key=key, refuse=refuse)
        location = table.location_provider().new_data_location(name_file(staged.token, data))
        name = self._name_locally(location)
        self._storage.ensure_folder(folder_of(name))
        create(self._storage, self._staging(table), name, data)
        return location

    def _refuse(self, staged: Staged) -> Refuse | None:
        return refuse_nulls(self._sink.key, find_far_times(staged.schema))

    def _staging(self, table: Table) -> str:
        return f"{self._name_locally(table.location())}/_batten/{self._ours}"

    def _check(self, table: Table, schema: pa.Schema) -> None:
        """Make ready to add files of this schema; raises `RefusedError` where that can't be."""
        if self._schema_id == table.schema().schema_id:
            return
        if not table.spec().is_unpartitioned():
            raise refuse_foreign(self._target, "is partitioned")
        refuse_columns(self._target, _convert(schema).as_arrow(), table.schema().as_arrow())
        self._storage.ensure_folder(self._staging(table))
        self._schema_id = table.schema().schema_id

    def _name_locally(self, location: str) -> str:
        from batten.sinks.lakes.iceberg.files import find_local_name

        name = find_local_name(location)
        if name is None:
            raise refused_there(
                f"{self._target} lies at {location}, and batten writes files of this machine only.",
                "Write to a table whose warehouse is a folder of this machine.",
            )
        return name

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        from pyiceberg import exceptions
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (BattenError, RejectedError, RejectedBatchesError):
            raise
        except exceptions.NoSuchTableError as error:
            raise tell_gone(self._target) from error
        except (SQLAlchemyError, OSError, exceptions.RESTError) as error:
            remedy = advise_waiting("catalogue", error)
            raise unreached(
                action, self._target, error, remedy=remedy, hidden=self._hidden()
            ) from error
        except list_errors() as error:
            raise refused(action, self._target, error, hidden=self._hidden()) from error

    def _hidden(self) -> list[str]:
        given = self._sink.read_properties()
        return [value for name, value in given.items() if value and is_secret(name, value)]


def _convert(schema: pa.Schema) -> Schema:
    """As Iceberg holds it."""
    import pyarrow as pa
    from pyiceberg.catalog import Catalog

    fields = []
    for each in schema:
        is_coded = pa.types.is_dictionary(each.type)
        plain = each.with_type(each.type.value_type) if is_coded else each
        fields.append(plain.remove_metadata())
        try:
            Catalog._convert_schema_if_needed(pa.schema([fields[-1]]))
        except Exception as error:  # The library's errors have nothing more special in common.
            raise refuse_type("Iceberg", each) from error
    return Catalog._convert_schema_if_needed(pa.schema(fields))


def _widen_table(table: Table, new: Sequence[pa.Field]) -> None:
    import pyarrow as pa

    with table.update_schema() as update:
        update.union_by_name(_convert(pa.schema(new)))
