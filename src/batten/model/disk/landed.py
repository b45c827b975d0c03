"""Files of landed items: their names and their lines.

000000000000000017-000000000000000099.jsonl     the first and the last offset in it
{"offset": 17, "item": …}                       a line
{"items": 83, "sha256": "…"}                    the last line, of all before it

A topic has a folder of them for each partition, `partition-00000`, and `reached.json` beside them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from batten.model.json_text import parse_json
from batten.model.patterns import pattern

DIGITS = 18
OFFSET_MAX = 10**DIGITS - 1
LINE_BYTES_MAX = 1 << 28
"""Of one item: a line is held in memory, whoever wrote it."""
REACHED = "reached.json"
"""How far each partition of a topic was read."""
_NAME = pattern(rf"(\d{{{DIGITS}}})-(\d{{{DIGITS}}})\.jsonl")
_PARTITION = pattern(r"partition-(\d{5,9})")
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


def name_partition(number: int) -> str:
    """The folder in which the messages of a partition lie."""
    return f"partition-{number:05}"


def find_partition(name: str) -> int | None:
    """The partition of the folder, or None for a name of anything else."""
    match = _PARTITION.fullmatch(name)
    return int(match[1]) if match else None


def list_partition_names(names: Iterable[str]) -> list[str]:
    """The folders of partitions among the names in a folder, if a topic is landed there."""
    found = list(names)
    numbers = {name: find_partition(name) for name in found} if REACHED in found else {}
    partitions = sorted(number for number in numbers.values() if number is not None)
    return [name_partition(number) for number in partitions]


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
    """Holds the lines of one file, as they are read, against its name and its last line. Files of
    older versions have no such line."""

    def __init__(self, file: LandedFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._offsets: list[int] = []
        self._is_ended = False

    def take(self, line: bytes) -> int | None:
        """The offset of its item; None for the last line. Raises `ValueError`."""
        if self._is_ended:
            raise ValueError("something follows its digest")
        if end := _END.fullmatch(line):
            self._is_ended = True
            if (len(self._offsets), self._digest.hexdigest()) != (int(end[1]), end[2].decode()):
                raise ValueError("its digest differs")
            return None
        self._digest.update(line)
        self._offsets.append(read_offset(line))
        return self._offsets[-1]

    def end(self) -> list[int]:
        """All offsets, when all was read. Raises `ValueError` where they are not those of the
        name: a file that was cut off at the end of a line tells it in no other way."""
        found = self._offsets
        told = f"from {found[0]} to {found[-1]}" if found else "none"
        if not found or (found[0], found[-1]) != (self._file.first, self._file.last):
            raise ValueError(f"it has other offsets than its name says: {told}")
        if any(after <= before for before, after in pairwise(found)):
            raise ValueError("its offsets don't grow")
        return found


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
