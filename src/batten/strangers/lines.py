"""Reads rows in JSON Lines or CSV for an audit: their keys, and the lines that hold no row.

Parquet is read in `audit`.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batten.errors import UsageError
from batten.model.audit.comparison import MalformedLine
from batten.model.json_text import find_object
from batten.strangers.files import UNCHANGED, read_beginning, read_lines

_SUFFIXES = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}
"""What the end of a name says of its content."""


def is_rows(path: Path) -> bool:
    """Whether the name is that of a file of rows."""
    return path.suffix.lower() in _SUFFIXES


def find_kind(name: str) -> str:
    """`parquet`, `jsonl` or `csv`: by the name where that says it, else by how it begins."""
    said = _SUFFIXES.get(Path(name).suffix.lower(), "")
    start = read_beginning(name).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PAR1") or said == "parquet":
        return "parquet"
    if start.startswith(b"{") and said != "csv":
        return "jsonl"
    return said or ("parquet" if b"\0" in start else "csv")


def read_jsonl_keys(name: str, column: str, faults: list[MalformedLine]) -> Iterator[str | None]:
    """The key of each whole line; what is no row is added to `faults`."""
    for number, line in enumerate(read_lines(name), start=1):
        if not line.strip():
            continue
        record = find_object(line)
        if record is not None:
            yield find_key(record, column)
        elif line.endswith(b"\n"):
            faults.append(MalformedLine(file=name, number=number, why=explain_malformed(line)))
        else:
            faults.append(MalformedLine(file=name, number=number, why=TORN))


TORN = "torn: the file ends in the middle of it"


def read_csv_keys(name: str, column: str, faults: list[MalformedLine]) -> Iterator[str | None]:
    """The key of each row of a file with a header; what is no row is added to `faults`."""
    csv.field_size_limit(sys.maxsize)
    is_torn = False

    def decode() -> Iterator[str]:
        nonlocal is_torn
        for line in read_lines(name):
            is_torn = not line.endswith(b"\n")
            yield line.decode("utf-8", errors="surrogateescape")

    reader = csv.reader(decode(), strict=True)
    header = next(reader, [])
    if header.count(column) != 1:
        raise no_column(name, header, column)
    place = header.index(column)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            faults.append(MalformedLine(file=name, number=number, why=f"no row of CSV: {error}"))
            return
        if row is None:
            return
        if len(row) == len(header):
            yield row[place] or None
        elif row:
            why = TORN if is_torn else f"{len(row)} fields, where the header has {len(header)}"
            faults.append(MalformedLine(file=name, number=number, why=why))


def no_column(name: str, names: list[str], column: str) -> UsageError:
    """The error where not exactly one of the columns is called so."""
    count = names.count(column)
    found = f"{count} columns" if count else "no column"
    return UsageError(
        f"{name} has {found} '{column}'.",
        safe=UNCHANGED,
        next=f"Name one of its columns with --key: {', '.join(names)}.",
    )


def find_key(record: dict[str, Any], column: str) -> str | None:
    """The key of a row as text; None if it has none."""
    key = record.get(column)
    if isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) and not isinstance(key, bool) else None


def explain_malformed(line: bytes) -> str:
    """Why a line is no row."""
    start = line.find(b"{", 1)
    while start > 0:
        if find_object(line[start:]) is not None:
            return "two records run together, the first cut short"
        start = line.find(b"{", start + 1)
    return "not a JSON object"
