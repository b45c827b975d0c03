"""All rows of a dataset in one file: JSON Lines, CSV or Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from batten.errors import UsageError
from batten.inspect.paths.free_place import refuse_within_datasets
from batten.ledger.files.parts import Parts
from batten.model.value_class import value_class
from batten.sinks.files.formats import ENDINGS, FORMATS, Batches, Encode
from batten.storage.addresses import local_path
from batten.storage.base import Piece
from batten.storage.failures import publishing_failure
from batten.storage.local.stand_alone import publish_file


@value_class
class Exported:
    """The file that was made of an output, and how many rows are in it."""

    path: str
    to: str
    rows: int
    is_complete: bool

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return dict(vars(self))


class Writable(Protocol):
    """An open binary file, as far as rows need one."""

    def write(self, data: Piece, /) -> object: ...


def export_rows(parts: Parts, to: str | os.PathLike[str] | Writable, format: str | None) -> int:
    """Write the rows to a file that appears whole or not at all, or to one that is open; gives
    their number."""
    if not isinstance(to, str | os.PathLike):
        encode = FORMATS[choose_format("", format)](parts.read_schema())
        return _write_rows(parts, encode, to.write)
    target = local_path(to)
    make_encoder = FORMATS[choose_format(target, format)]
    own = os.path.join(parts.storage.place, parts.layout.output)
    refuse_within_datasets(target, "an export", own)
    encode = make_encoder(parts.read_schema())
    with publish_file(target) as file:

        def write(piece: Piece) -> None:
            try:
                file.write(piece)
            except OSError as error:
                raise publishing_failure(error, target) from error

        return _write_rows(parts, encode, write)


def _write_rows(parts: Parts, encode: Encode, write: Callable[[Piece], object]) -> int:
    rows = 0

    def counted(batches: Batches) -> Batches:
        nonlocal rows
        for batch in batches:
            rows += batch.num_rows
            yield batch

    for piece in encode(counted(parts.read_batches())):
        write(piece)
    return rows


def choose_format(target: str, format: str | None) -> str:
    """The format, by its name or by the file's ending; raises `UsageError`."""
    found = format if format is not None else ENDINGS.get(os.path.splitext(target)[1].lower())
    if found in FORMATS:
        return found
    known = ", ".join(FORMATS)
    raise UsageError(
        f"{format or target or 'An open file'!r} is no format that rows can be exported to.",
        safe="Nothing was written.",
        next=f"End the file's name with one of {', '.join(ENDINGS)}; or name a format: {known}.",
    )
