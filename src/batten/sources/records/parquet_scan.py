"""What a scan finds of the rows of a Parquet file: their number, keys and digests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.items.versions import UNKNOWN
from batten.model.value_class import value_class
from batten.sources.base import SCAN_BLOCK_ITEMS, ScanBlock
from batten.sources.identity.digests import digest_rows, split_digests
from batten.sources.identity.keys import NoKey, make_key, stand_in_key
from batten.sources.identity.versions import UNREADABLE
from batten.sources.records.input_files import InputFile
from batten.storage.reading import close_with

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SCAN_BLOCK_BYTES = 1 << 24
"""About so many bytes of rows are compared at once."""


@value_class
class ParquetPart:
    """One file; its rows are numbered from `start` over all files."""

    file: InputFile
    start: int
    rows: int


def scan_rows(part: ParquetPart, columns: list[str] | None) -> Iterator[ScanBlock]:
    """Blocks of rows without keys."""
    digests = _Digests(part, columns, UNKNOWN)
    left = part.rows
    while left:
        count = min(left, SCAN_BLOCK_ITEMS)
        yield ScanBlock(count=count, digests=digests.take(count))
        left -= count


def scan_keys(
    part: ParquetPart, columns: list[str] | None, key: str, *, keeps_digests: bool
) -> Iterator[ScanBlock]:
    """Blocks of rows with keys. The keys are read apart from the content, so that a row whose
    content can't be read has its key nevertheless."""
    row = part.start
    digests = _Digests(part, columns, UNREADABLE) if keeps_digests else None
    with opened(part.file) as file:
        for batch in _read_batches(file, range(file.metadata.num_row_groups), [key]):
            values = batch.column(key).to_pylist()
            yield ScanBlock(
                count=len(values),
                keys=[_key_of(value, row + index) for index, value in enumerate(values)],
                positions=range(row, row + len(values)),
                digests=None if digests is None else digests.take(len(values)),
            )
            row += len(values)


@contextmanager
def opened(source: InputFile) -> Iterator[pq.ParquetFile]:
    """The file, closed at the end. A close of what was only read may fail, and costs nothing."""
    file = open_parquet(source)
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close(force=True)


def open_parquet(source: InputFile) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    file = source.open()
    try:
        found = pq.ParquetFile(file)
    except BaseException:
        file.close()
        raise
    close_with(found, file)
    return found


class _Digests:
    """Those of the rows of a file in order, of one row group at a time. Items are read by row
    groups too: where some of one can't be read, `unreadable` stands for each of its rows. The file
    is closed when nobody has them any more."""

    def __init__(self, part: ParquetPart, columns: list[str] | None, unreadable: bytes) -> None:
        self._groups = _digest_groups(part, columns, unreadable)
        self._held = b""

    def take(self, count: int) -> bytes:
        """Those of the next rows."""
        import pyarrow as pa

        size = count * DIGEST_BYTES
        held = bytearray(self._held)
        while len(held) < size:
            group = next(self._groups, None)
            if group is None:
                raise pa.ArrowInvalid("it was changed while it was read")
            held += group
        self._held = bytes(held[size:])
        return bytes(held[:size])


def _digest_groups(
    part: ParquetPart, columns: list[str] | None, unreadable: bytes
) -> Iterator[bytes]:
    with opened(part.file) as file:
        for number in range(file.metadata.num_row_groups):
            yield _digest_group(file, number, columns, unreadable)


def _digest_group(
    file: pq.ParquetFile, number: int, columns: list[str] | None, unreadable: bytes
) -> bytes:
    import pyarrow as pa

    count: int = file.metadata.row_group(number).num_rows
    found = bytearray()
    try:
        for batch in _read_batches(file, [number], columns):
            # In the order in which items have them.
            found += digest_rows(batch if columns is None else batch.select(columns))
    except (pa.ArrowException, OSError, LookupError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        found.clear()
    if len(found) != count * DIGEST_BYTES:
        return unreadable * count
    if unreadable == UNKNOWN or UNKNOWN not in found:
        return bytes(found)
    each = split_digests(bytes(found))
    return b"".join(unreadable if one == UNKNOWN else one for one in each)


def _read_batches(
    file: pq.ParquetFile, numbers: Sequence[int], columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    """All rows of these row groups, few at a time where they are large."""
    groups = [file.metadata.row_group(number) for number in numbers]
    row_bytes = max((each.total_byte_size // max(each.num_rows, 1) for each in groups), default=0)
    most = max(1, min(SCAN_BLOCK_ITEMS, SCAN_BLOCK_BYTES // max(row_bytes, 1)))
    yield from file.iter_batches(
        batch_size=most, row_groups=list(numbers), columns=columns, use_threads=False
    )


def _key_of(value: object, row: int) -> str:
    try:
        return make_key(value)
    except NoKey:
        return stand_in_key("row", row)
