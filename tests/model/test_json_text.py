"""All that somebody else may have written is parsed in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import batten
from batten.model.json_text import check_plain_json, find_object, parse_json

OWN = {
    "crashlab",
    "model/json_text.py",
    "pipeline/preview.py",
    "rows/type_texts.py",
    "sources/records/jsonl.py",
}
"""These read what batten itself has just written. The last asks json what a line lacks."""


@pytest.mark.parametrize("data", [b"[" * 100_000, "[" * 100_000, b"\xff", "", b"9" * 5000, b"{"])
def test_what_is_no_json_is_a_value_error(data: bytes | str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(data)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", '{"a": [{"b": 1, "b": 2}]}', "{"])
def test_what_is_no_plain_json_is_a_value_error(text: str) -> None:
    check_plain_json('{"a": [{"b": 1, "c": 2}], "b": null}')
    with pytest.raises(ValueError, match=r".+"):
        check_plain_json(text)


def test_nothing_else_parses_what_was_read() -> None:
    source = Path(batten.__file__).parent
    found = [
        name
        for path in source.rglob("*.py")
        if re.search(r"json\.loads?\(", path.read_text())
        and not any(
            (name := path.relative_to(source).as_posix()) == each or name.startswith(each + "/")
            for each in OWN
        )
    ]
    assert found == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_none(text: bytes) -> None:
    assert find_object(text) is None
    assert find_object(b'{"a": [1]}') == {"a": [1]}
