"""Files of landed items: their names and their lines.

000000000000000017-000000000000000099.jsonl     the first and the last offset in it
{"offset": 17, "item": …}                       a line
{"items": 83, "sha256": "…"}                    the last line, of all before it
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batten.model.json_text import parse_json
from batten.model.patterns import pattern

DIGITS = 18
OFFSET_MAX = 10**DIGITS - 1
LINE_BYTES_MAX = 1 << 28
"""Of one item: a line is held in memory, whoever wrote it."""
_NAME = pattern(rf"(\d{{{DIGITS}}})-(\d{{{DIGITS}}})\.jsonl")
_END = re.compile(rb'\{"items": (\d{1,18}), "sha256": "([0-9a-f]{64})"\}\n')
_LINE = re.compile(rb'\{"offset": (\d{1,18}), "item": (.*)\}\n?')


@dataclass(frozen=True, order=True)
class LandedFile:
    """Holds the items with offsets from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.first:0{DIGITS}}-{self.last:0{DIGITS}}.jsonl"


def find_landed(name: str) -> LandedFile | None:
    """What the name says, or None for a name of anything else."""
    match = _NAME.fullmatch(name)
    return LandedFile(int(match[1]), int(match[2])) if match else None


def encode_line(offset: int, item: Any) -> bytes:
    """Raises `TypeError` or `ValueError` for what JSON can't hold, and for what is too large."""
    text = json.dumps(item, ensure_ascii=False, allow_nan=False)
    line = f'{{"offset": {offset}, "item": {text}}}\n'.encode()
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"it has {len(line):,} bytes, more than {LINE_BYTES_MAX:,}")
    return line


def encode_end(lines: Sequence[bytes]) -> bytes:
    """The last line of a file of these."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return f'{{"items": {len(lines)}, "sha256": "{digest.hexdigest()}"}}\n'.encode()


class LandedCheck:
    """Holds the lines of one file, as they are read, against its last line. Files of older versions
    have no such line."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._items = 0
        self._is_ended = False

    def take(self, line: bytes) -> int | None:
        """The offset of its item; None for the last line. Raises `ValueError`."""
        if self._is_ended:
            raise ValueError("something follows its digest")
        if end := _END.fullmatch(line):
            self._is_ended = True
            if (self._items, self._digest.hexdigest()) != (int(end[1]), end[2].decode()):
                raise ValueError("its digest differs")
            return None
        self._digest.update(line)
        offset = read_offset(line)
        self._items += 1
        return offset


def read_offset(line: bytes) -> int:
    """The offset of a line, without looking at its item. Raises `ValueError`."""
    return int(_match(line)[1])


def decode_item(line: bytes) -> Any:
    """The item of a line. Raises `ValueError`."""
    return parse_json(_match(line)[2])


def _match(line: bytes) -> re.Match[bytes]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("it is no line of a landed item")
    return match
