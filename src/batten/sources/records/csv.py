"""Records of a CSV file with a header."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

from batten.sources.paths import source_error
from batten.sources.records.decoded import PLAIN
from batten.sources.records.text import RecordFile, Syntax, TextSource, tell_undecodable


class CsvSource(TextSource):
    """The records of a file as RFC 4180 describes it, as dicts by the names in its header.

    All values are strings: no types are guessed. Empty lines are no items. A record that can't be
    understood, or that has more or fewer fields than the header, is an item that is `Unavailable`.
    With `key`, a record with an empty key is one, too; its key is `//line:17`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        folder: Path,
        delimiter: str = ",",
        encoding: str = PLAIN,
        changed: str = "content",
        removed: str = "keep",
    ) -> None:
        super().__init__(
            path, key=key, folder=folder, encoding=encoding, changed=changed, removed=removed
        )
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise source_error(
                f"delimiter={delimiter!r} cannot divide fields.",
                "Give one ASCII character, such as , or ; or a tab.",
            )
        self._delimiter = delimiter

    @property
    def identity(self) -> dict[str, str]:
        return self._describe("csv") | {"delimiter": self._delimiter}

    def _begin(self, file: RecordFile) -> tuple[Syntax, int]:
        syntax = CsvSyntax(self._delimiter, [], self._encoding)
        header = next(file.records(syntax), None)
        if header is None:
            raise ValueError("it is empty, without even a header")
        names = syntax.parse_fields(header.data)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"its header names {', '.join(map(repr, repeated))} more than once")
        if self._key is not None and self._key not in names:
            raise ValueError(f"its header has no {self._key!r}, but {', '.join(map(repr, names))}")
        return CsvSyntax(self._delimiter, names, self._encoding), header.line + header.data.count(
            b"\n"
        )


class CsvSyntax:
    """A record is a line, or several where line ends lie within quotes. A quote counts where it
    begins a field, and within such a field."""

    blank = b"\r\n"

    def __init__(self, delimiter: str, names: list[str], encoding: str) -> None:
        self._encoding = encoding
        self._delimiter = delimiter
        self._names = names
        self.head = json.dumps(names).encode() if names else b""
        comma = re.escape(delimiter.encode())
        rest = rb"[^%b]*+" % comma
        closing = rb'[^"]*+(?:""[^"]*+)*+"' + rest
        self._closing = re.compile(closing)
        self._closed_fields = re.compile(rb'(?:%b(?:"%b|(?!")%b))*+' % (comma, closing, rest))

    def is_open_after(self, line: bytes, is_open: bool) -> bool:
        if b'"' not in line:
            return is_open
        if is_open:
            closing = self._closing.match(line)
            if closing is None:
                return True
            line = line[closing.end() :]
        else:
            line = self._delimiter.encode() + line
        closed = self._closed_fields.match(line)
        return closed is None or closed.end() < len(line)

    def parse(self, data: bytes) -> dict[str, str]:
        fields = self.parse_fields(data)
        if len(fields) != len(self._names):
            raise ValueError(f"{len(fields)} fields where the header has {len(self._names)}")
        return dict(zip(self._names, fields, strict=True))

    def parse_fields(self, data: bytes) -> list[str]:
        """The fields of a record. Raises `ValueError`."""
        try:
            records = self._read(data.decode())
        except UnicodeDecodeError as error:
            raise ValueError(tell_undecodable("record", self._encoding, error)) from error
        except csv.Error as error:
            raise ValueError(f"the record is not CSV: {error}") from error
        return records[0] if records else []

    def _read(self, text: str) -> list[list[str]]:
        # The limit of a field is the process's, so it is raised only where it is in the way.
        before = csv.field_size_limit()
        if len(text) <= before:
            return list(csv.reader([text], delimiter=self._delimiter, strict=True))
        csv.field_size_limit(len(text))
        try:
            return list(csv.reader([text], delimiter=self._delimiter, strict=True))
        finally:
            csv.field_size_limit(before)
