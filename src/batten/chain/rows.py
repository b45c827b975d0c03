"""The rows of the parts of a dataset, each with its key and the digest of its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batten.chain.ready import changed_upstream
from batten.errors import RefusedError
from batten.inspect.paths.output_path import Place
from batten.ledger.files.part_rows import PartRows
from batten.model.disk.items.versions import GONE, UNKNOWN
from batten.model.value_class import value_class
from batten.sources.base import POSITION_BITS, ItemsWanted, Unavailable
from batten.sources.identity.digests import digest_rows, split_digests
from batten.sources.identity.keys import ESCAPED_PREFIX, NoKey, make_key
from batten.sources.identity.versions import UNREADABLE
from batten.sources.paths import source_error
from batten.sources.records.parquet import ROWS_AT_A_TIME, convert_rows
from batten.storage.failures import OtherVersionError, reading_failure

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_MASK = (1 << POSITION_BITS) - 1
_WITHOUT_KEY = f"{ESCAPED_PREFIX}row:"


@value_class
class NamedRows:
    """How rows are named: by the column `key`, which `is_own` to the dataset; empty if by their
    numbers. `columns` are those that items have; None means all. `is_compared`: a row is held
    against what was planned."""

    key: str
    is_own: bool
    columns: Sequence[str] | None
    is_compared: bool = True

    def list_keys(self, table: pa.Table, number: int, start: int) -> list[str]:
        """Those of all rows of a batch; `start` is the number of its first row."""
        if not self.key:
            return [str(start + row) for row in range(table.num_rows)]
        values = table.column(self.key).to_pylist()
        keys = [self._key_of(value, number, row) for row, value in enumerate(values)]
        return _number_repeated(keys) if self.is_own else keys

    def _key_of(self, value: object, number: int, row: int) -> str:
        if self.is_own and isinstance(value, str):
            return value  # It is a key already.
        try:
            return make_key(value)
        except NoKey:
            return f"{_WITHOUT_KEY}{number}:{row}"

    def select(self, table: pa.Table) -> pa.Table:
        """What items have of it."""
        return table if self.columns is None else table.select(self.columns)

    def list_columns(self) -> list[str] | None:
        """What is to be read; None means all."""
        if self.columns is None:
            return None
        return list(dict.fromkeys([*self.columns, *([self.key] if self.key else [])]))


class LoadedRows:
    """All rows of one batch. `keys` are in order."""

    def __init__(self, table: pa.Table, keys: list[str], names: NamedRows) -> None:
        self._table = names.select(table)
        self.keys = keys

    def digests(self, first: int, stop: int) -> bytes:
        """Of rows from one to another (exclusive)."""
        found = digest_rows(self._table.slice(first, stop - first), skips_nulls=True)
        if UNKNOWN not in found:
            return found
        return b"".join(UNREADABLE if one == UNKNOWN else one for one in split_digests(found))

    def items(self, first: int, stop: int) -> Sequence[Any | Unavailable]:
        """The same rows, as dicts."""
        return convert_rows(self._table.slice(first, stop - first))


class DatasetReader:
    """Gives rows by the number of their batch and of the row in it; keeps one batch in memory."""

    def __init__(self, place: Place, names: NamedRows) -> None:
        self._place = place
        self._names = names
        self._number = -1
        self._rows: LoadedRows | None = None

    def load(self, number: int, start: int = 0) -> LoadedRows:
        """A batch, whose first row has the number `start`. Raises `FileNotFoundError`, and
        `RefusedError` where it can't be read."""
        import pyarrow as pa

        names, layout = self._names, self._place.layout
        with self._place.storage.open(layout.part(number)) as file:
            try:
                reader = PartRows(file)
                self._require_columns(reader.schema)
                table = reader.read_table(names.list_columns())
            except (ValueError, KeyError, pa.ArrowException, OSError, OtherVersionError) as error:
                if isinstance(error, OtherVersionError):
                    raise changed_upstream(self._place.path) from error
                part = self._place.show(layout.part(number))
                if isinstance(error, OSError) and error.errno is not None:
                    raise reading_failure(error, "Reading", part) from error
                raise RefusedError(
                    f"{part} can't be read: {f'{error}'.splitlines()[0]}.",
                    safe="Nothing was changed, and no row of it was used.",
                    next=f"See what is damaged there: {self._place.command('verify')}",
                ) from error
        return LoadedRows(table, names.list_keys(table, number, start), names)

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        """Raises `RefusedError` where the dataset was changed since it was planned: nothing of
        another version is used, and no item is at fault."""
        keys, positions = list(wanted.keys or ()), list(wanted.positions or ())
        planned = split_digests(wanted.digests or UNKNOWN * len(keys))
        index = 0
        while index < len(positions):
            if planned[index] == GONE:
                yield Unavailable(LookupError("it is gone"))
                index += 1
                continue
            stop = index + 1
            while (
                stop < min(len(positions), index + ROWS_AT_A_TIME)
                and positions[stop] == positions[stop - 1] + 1
                and planned[stop] != GONE
            ):
                stop += 1
            items = self._read_run(positions[index], keys[index:stop], planned[index:stop])
            for key, item in zip(keys[index:stop], items, strict=True):
                is_without_key = key.startswith(_WITHOUT_KEY)
                yield Unavailable(NoKey("the key is None")) if is_without_key else item
            index = stop

    def _read_run(
        self, position: int, keys: list[str], planned: Sequence[bytes]
    ) -> Sequence[Any | Unavailable]:
        """Rows that follow each other in one batch."""
        first, count = position & _ROW_MASK, len(keys)
        rows = self._switch(position >> POSITION_BITS)
        if first + count > len(rows.keys):
            raise changed_upstream(self._place.path)
        if self._names.key and rows.keys[first : first + count] != keys:
            raise changed_upstream(self._place.path)
        if self._names.is_compared:
            found = split_digests(rows.digests(first, first + count))
            if any(a not in (b, UNKNOWN) for a, b in zip(planned, found, strict=True)):
                raise changed_upstream(self._place.path)
        return rows.items(first, first + count)

    def _switch(self, number: int) -> LoadedRows:
        if self._rows is None or self._number != number:
            try:
                self._rows = self.load(number)
            except FileNotFoundError as error:
                raise changed_upstream(self._place.path) from error
            self._number = number
        return self._rows

    def _require_columns(self, schema: pa.Schema) -> None:
        names = schema.names
        wanted = self._names.list_columns() or [self._names.key or names[0]]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise source_error(
                f"{self._place.path} has no column {missing[0]!r}, but {', '.join(names)}.",
                "Correct key= or columns=.",
            )


def _number_repeated(keys: list[str]) -> list[str]:
    """The first row of an item has its key; the others `//row-2:KEY`. As such a key holds no
    backslash, it is none that stands for a text."""
    if len(set(keys)) == len(keys):
        return keys
    counts: dict[str, int] = {}
    named = []
    for key in keys:
        nth = counts[key] = counts.get(key, 0) + 1
        told = key.replace("%", "%25").replace("\\", "%5C")
        named.append(key if nth == 1 else f"{ESCAPED_PREFIX}row-{nth}:{told}")
    return named
