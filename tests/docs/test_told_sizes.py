"""Sizes are told by one mechanism: `show_bytes`, or to the byte `count_of`. So each has one form,
and one byte is "1 byte"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import batten

ROOT = Path(batten.__file__).parent
OWNER = "model/telling"
UNIT = re.compile(r" ?([KMGTP]i?B|kB|bytes?)\b")


def find_sizes(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for number, after in pairwise(node.values):
                is_number = isinstance(number, ast.FormattedValue)
                told = str(after.value) if isinstance(after, ast.Constant) else ""
                if is_number and UNIT.match(told):
                    yield node.lineno


def test_no_message_writes_a_size_by_hand() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(ROOT.rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(OWNER)
        for line in find_sizes(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ['f"{n} bytes"', 'f"more than {n >> 20} MiB of it"', 'f"x {n:,} byte"', 'f"{n:.1f}MB"'],
)
def test_what_is_found(source: str) -> None:
    assert list(find_sizes(source))


def test_other_texts_are_not() -> None:
    assert list(find_sizes('f"{n} byteswap"; f"{name} of bytes"; f"{count_of(n, \'byte\')}"')) == []
