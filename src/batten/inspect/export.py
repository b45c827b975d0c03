"""All rows of a dataset in one file: JSON Lines, CSV or Parquet."""

from __future__ import annotations

import os
from typing import Any

from batten.errors import UsageError
from batten.ledger.facts.locating import find_dataset_around, is_output
from batten.ledger.parts import Parts
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.value_class import value_class
from batten.sinks.files.formats import ENDINGS, FORMATS, Batches
from batten.storage.addresses import local_path
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


def export_rows(parts: Parts, to: str | os.PathLike[str], format: str | None = None) -> int:
    """Write the rows to a file that appears whole or not at all; gives their number."""
    target = local_path(to)
    make_encoder = FORMATS[choose_format(target, format)]
    _refuse_within(parts, target)
    encode = make_encoder(parts.read_schema())
    rows = 0

    def counted(batches: Batches) -> Batches:
        nonlocal rows
        for batch in batches:
            rows += batch.num_rows
            yield batch

    with publish_file(target) as file:
        for piece in encode(counted(parts.read_batches())):
            try:
                file.write(piece)
            except OSError as error:
                raise publishing_failure(error, target) from error
    return rows


def choose_format(target: str, format: str | None) -> str:
    """The format, by its name or by the file's ending; raises `UsageError`."""
    found = format if format is not None else ENDINGS.get(os.path.splitext(target)[1].lower())
    if found in FORMATS:
        return found
    known = ", ".join(FORMATS)
    raise UsageError(
        f"{format or target!r} is no format that rows can be exported to.",
        safe="Nothing was written.",
        next=f"End the file's name with one of {', '.join(ENDINGS)}; or name a format: {known}.",
    )


def _refuse_within(parts: Parts, target: str) -> None:
    """Raises `UsageError` for a file that is of a dataset, this or another one."""
    try:
        around, is_of_job = find_dataset_around(target), is_output(target)
    except OSError as error:
        raise publishing_failure(error, target) from error
    output = os.path.realpath(os.path.join(parts.storage.place, parts.layout.output))
    is_own = around is not None and os.path.realpath(around) in (output, output + CONTROL_SUFFIX)
    what = ""
    if around is not None:
        which = "itself" if is_own else os.path.relpath(around)
        what = f"lies in the dataset {which}, where nothing else may be"
    elif is_of_job:
        what = "is the output of a job, which an export would replace"
    if what:
        raise UsageError(
            f"{target!r} {what}.",
            safe="Nothing was written.",
            next="Export to another place.",
        )
