"""Reads the files of a hand-made job for a comparison by key.

These are a list of keys that are done, rows (Parquet, JSON Lines or CSV), and JSONL staging. It
only ever reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import CorruptError, UsageError
from batten.model.audit.advice import Advice, AuditedFiles, advise
from batten.model.audit.comparison import Audit, DoneKeys, MalformedLine, StagedKeys, compare_keys
from batten.model.json_text import find_object
from batten.model.value_class import value_class
from batten.storage.addresses import refuse_address
from batten.storage.local.there import is_file, is_folder
from batten.strangers.files import UNCHANGED, is_hidden, observe, read_lines, translate
from batten.strangers.lines import (
    explain_malformed,
    find_key,
    find_kind,
    is_rows,
    no_column,
    read_csv_keys,
    read_jsonl_keys,
)

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

_BATCH_ROWS = 65_536


@value_class
class AuditReport:
    """What an audit found and what it means."""

    audit: Audit
    advice: Advice
    files: AuditedFiles

    @property
    def state(self) -> str:
        """The word for what was found."""
        return "CONSISTENT" if self.audit.is_consistent else "INCONSISTENT"

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints, with every key."""
        audit = self.audit
        malformed = audit.staged.malformed if audit.staged else ()
        return {
            "state": self.state,
            "done": audit.done,
            "rows": audit.rows,
            "missing": audit.missing,
            "extra": audit.extra,
            "duplicates": audit.duplicates,
            "done_duplicates": audit.done_duplicates,
            "null_keys": audit.null_keys,
            "recoverable": len(audit.recoverable),
            "recoverable_keys": audit.recoverable,
            "unrecoverable_keys": audit.unrecoverable,
            "staged_only": audit.staged_only,
            "torn_lines": audit.staged.torn_lines if audit.staged else 0,
            "malformed_lines": len(malformed),
            "malformed": [{"line": line.number, "why": line.why} for line in malformed],
            "broken_lines": [
                {"file": line.file, "line": line.number, "why": line.why} for line in audit.broken
            ],
            "reason": self.advice.reason,
            "hints": self.advice.hints,
            "next": " ".join(self.advice.next),
        }


def audit_files(done: str, rows: str, key: str, staging: str | None = None) -> AuditReport:
    """Compare the keys in the file `done` with column `key` of the file or folder `rows`.

    Raises `UsageError` for a file or column that is not there, `CorruptError` for rows that can't
    be read, `StorageError` if the machine fails. An inconsistency is a result.
    """
    for path in (done, rows, staging or done):
        refuse_address(path)
    row_files, unread = _list_row_files(rows)
    watched = (done, *row_files, *([staging] if staging else []))
    before = {name: observe(name) for name in watched}
    done_keys = _load_done(done)
    staged = _load_staging(staging, key) if staging else None
    faults: list[MalformedLine] = []
    try:
        audit = compare_keys(done_keys, _read_row_keys(row_files, key, faults), staged)
    except CorruptError as error:
        if staged:
            error.safe = _describe_recoverable(done_keys, staged, done, staging)
        raise
    audit = replace(audit, broken=tuple(faults))
    files = AuditedFiles(
        done=done,
        rows=rows,
        key=key,
        staging=staging,
        changed=tuple(name for name in watched if observe(name) != before[name]),
        unread=unread,
    )
    return AuditReport(audit=audit, advice=advise(audit, files), files=files)


def _describe_recoverable(
    done_keys: DoneKeys, staged: StagedKeys, done: str, staging: str | None
) -> str:
    keys = set(done_keys.keys)
    return (
        f"{UNCHANGED} {staging} holds whole rows for {len(keys & set(staged.keys)):,} "
        f"of the {len(keys):,} keys in {done}: keep it."
    )


def _load_done(name: str) -> DoneKeys:
    keys: list[str] = []
    line = b"\n"
    for line in read_lines(name):
        if line.strip():
            keys.append(_decode(line.removesuffix(b"\n").removesuffix(b"\r")))
    return DoneKeys(keys=keys, torn_key=keys[-1] if line.strip() and line[-1:] != b"\n" else None)


def _decode(key: bytes) -> str:
    """Keys are often file names, which need not be UTF-8."""
    return key.decode(errors="surrogateescape")


def _load_staging(name: str, column: str) -> StagedKeys:
    keys: list[str] = []
    malformed: list[MalformedLine] = []
    torn_lines = 0
    for number, line in enumerate(read_lines(name), start=1):
        if not line.strip():
            continue
        record = find_object(line)
        if record is None and not line.endswith(b"\n"):
            torn_lines += 1
        elif record is None:
            malformed.append(MalformedLine(file=name, number=number, why=explain_malformed(line)))
        elif (key := find_key(record, column)) is None:
            why = f"no key in the field '{column}'"
            malformed.append(MalformedLine(file=name, number=number, why=why))
        else:
            keys.append(key)
    return StagedKeys(keys=keys, torn_lines=torn_lines, malformed=tuple(malformed))


def _list_row_files(rows: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of rows, and the other files of the folder, which are not read. If there is
    Parquet, files of other forms are likely staging."""
    root = Path(rows)
    try:
        if not is_folder(root):
            return (rows,), ()
        names = sorted(path for path in root.rglob("*") if is_file(path))
    except OSError as error:
        raise translate(error, rows) from error
    taken = [path for path in names if is_rows(path) and not is_hidden(path, root)]
    parquet = [path for path in taken if path.suffix == ".parquet"]
    taken = parquet or taken
    if not taken:
        raise UsageError(
            f"There is no Parquet file in the folder {rows}, and none of JSON Lines or CSV.",
            safe=UNCHANGED,
            next="Check the path; files are found by the endings .parquet, .jsonl and .csv.",
        )
    unread = tuple(str(path) for path in names if path not in set(taken))
    return tuple(str(path) for path in taken), unread


def _read_row_keys(
    names: Iterable[str], column: str, faults: list[MalformedLine]
) -> Iterator[str | None]:
    """The keys of all rows; lines that hold none are added to `faults`."""
    for name in names:
        kind = find_kind(name)
        if kind == "parquet":
            yield from _read_parquet_keys(name, column)
        elif kind == "jsonl":
            yield from read_jsonl_keys(name, column, faults)
        else:
            yield from read_csv_keys(name, column, faults)


def _read_parquet_keys(name: str, column: str) -> Iterator[str | None]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(name, page_checksum_verification=True)
        try:
            _check_column(file, name, column)
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
                yield from _list_texts(batch.column(column))
        finally:
            # A close of what was only read may fail, and costs nothing.
            with suppress(OSError):
                file.close()
    except (OSError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise translate(error, name) from error
        raise CorruptError(
            f"{name} cannot be read: {' '.join(str(error).split())}",
            safe=UNCHANGED,
            next=(
                "Do not run the job: keep all files, and restore this one from a copy, "
                "or set it aside and make its rows again."
            ),
        ) from error


def _check_column(file: ParquetFile, name: str, column: str) -> None:
    import pyarrow.types as types

    schema = file.schema_arrow
    indices = schema.get_all_field_indices(column)
    if len(indices) != 1:
        raise no_column(name, schema.names, column)
    kind = schema.field(indices[0]).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
        types.is_integer,
        types.is_null,
    )
    if not any(is_kind(kind) for is_kind in texts):
        raise UsageError(
            f"Column '{column}' of {name} holds {kind}; keys are text, bytes or integers.",
            safe=UNCHANGED,
            next="Name the column of keys with --key.",
        )


def _list_texts(column: pyarrow.Array) -> list[str | None]:
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_integer(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    values = column.cast(pyarrow.large_binary()).to_pylist()
    return [None if value is None else _decode(value) for value in values]
