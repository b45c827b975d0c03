"""Files of landed items: their names and their lines.

000000000000000017-000000000000000099.jsonl     the first and the last offset in it
{"offset": 17, "item": …}                       a line
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from batten.model.json_text import parse_json
from batten.model.patterns import pattern

DIGITS = 18
OFFSET_MAX = 10**DIGITS - 1
LINE_BYTES_MAX = 1 << 28
"""Of one item: a line is held in memory, whoever wrote it."""
_NAME = pattern(rf"(\d{{{DIGITS}}})-(\d{{{DIGITS}}})\.jsonl")
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
