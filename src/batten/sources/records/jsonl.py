"""Lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from pathlib import Path
from typing import Any

from batten.model.json_text import parse_json
from batten.sources.base import ScanBlock
from batten.sources.identity.keys import make_keys
from batten.sources.records.decoded import PLAIN
from batten.sources.records.text import (
    RecordFile,
    Syntax,
    TextRecord,
    TextSource,
    tell_undecodable,
)

BLOCK_BYTES = 1 << 18
"""About so many bytes of lines are parsed at once."""


class JsonLinesSource(TextSource):
    """The JSON values of a file, one a line; blank lines are no items.

    A line that can't be understood is an item that is `Unavailable`. With `key`, a line without
    that field is one, too; its key is `//line:17`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        folder: Path,
        encoding: str = PLAIN,
        changed: str = "content",
        removed: str = "keep",
    ) -> None:
        super().__init__(
            path, key=key, folder=folder, encoding=encoding, changed=changed, removed=removed
        )

    @property
    def identity(self) -> dict[str, str]:
        return self._describe("jsonl")

    def _begin(self, file: RecordFile) -> tuple[Syntax, int]:
        return JsonLinesSyntax(self._encoding), 1

    def _find_blocks(self, file: RecordFile) -> Iterator[ScanBlock]:
        """Lines are parsed many at a time; one by one where they are not all plain items."""
        syntax = JsonLinesSyntax(self._encoding)
        number, end = 1, file.start
        while lines := file.read_lines(BLOCK_BYTES):
            *offsets, end = accumulate(map(len, lines), initial=end)
            keys = find_keys(lines, self._key) if self._key is not None else None
            if keys is not None:
                digests = self._digest(lines, syntax)
                yield ScanBlock(count=len(offsets), keys=keys, positions=offsets, digests=digests)
            elif self._key is None and all(map(bytes.strip, lines)):
                digests = self._digest(lines, syntax)
                yield ScanBlock(count=len(offsets), positions=offsets, digests=digests)
            else:
                found = map(TextRecord, offsets, count(number), lines)
                records = [record for record in found if record.data.strip(syntax.blank)]
                if records:
                    yield self._make_block(records, syntax)
            number += len(lines)


_DIVIDER = f"between lines {os.urandom(12).hex()}"
"""What no line holds."""

_JOINT = f',"{_DIVIDER}",'.encode()


def find_keys(lines: Sequence[bytes], field: str) -> list[str] | None:
    """The keys of lines that are each an object with the field; None if one is not.

    All are parsed as one list, since to parse a line by itself takes longer than what is in it.
    Only if every divider is found between two values does each line hold exactly one."""
    try:
        values = parse_json(b"[" + _JOINT.join(lines) + b"]")
        items = values[::2]
        if len(items) != len(lines) or values[1::2] != [_DIVIDER] * (len(lines) - 1):
            return None
        return make_keys([item[field] for item in items])
    # Others tell if a value is no object, or has no such field, or one that names nothing.
    except (ValueError, TypeError, KeyError):
        return None


JSON_SPACE = " \t\r\n"

_decoder = json.JSONDecoder()


class JsonLinesSyntax:
    """A record is a line."""

    blank = b" \t\r\n"
    head = b""

    def __init__(self, encoding: str = PLAIN) -> None:
        self._encoding = encoding

    def is_open_after(self, line: bytes, is_open: bool) -> bool:
        return False

    def parse(self, data: bytes) -> Any:
        try:
            text = data.decode().strip(JSON_SPACE)
            value, end = _decoder.raw_decode(text)
            # What is wrong with the rest is told by the slower way.
            return value if end == len(text) else json.loads(text)
        except UnicodeDecodeError as error:
            raise ValueError(tell_undecodable("line", self._encoding, error)) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the line is not JSON: {error}") from error
