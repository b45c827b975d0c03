"""Keys: valid Unicode, different for different texts, never taken for one that stands in."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batten.sources.identity.keys import NoKey, escape_key, make_key, stand_in_key, unescape_key

AWKWARD = st.text(
    st.sampled_from(
        ["/", "\\", "x", "u", "8", "d", "0", "\udc80", "\udcff", "\ud800", "a", "é", "\n"]
    )
)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=())), AWKWARD)


@given(TEXTS)
@example("//line:17")
@example("//")
@example("\\x80")
@example("\udc80")
def test_a_key_gives_its_text_back(text: str) -> None:
    key = escape_key(text)
    key.encode()
    assert unescape_key(key) == text


@given(TEXTS, TEXTS)
@example("\udc80", "\\x80")
@example("\udc80", "//\\x80")
def test_different_texts_have_different_keys(one: str, other: str) -> None:
    assert (escape_key(one) == escape_key(other)) == (one == other)


@given(TEXTS)
@example("line:17")
@example("//line:17")
@example("row:0")
def test_no_text_has_the_key_that_stands_for_a_line(text: str) -> None:
    assert not re.fullmatch(r"//(line|row):\d+", escape_key(text))


def test_ordinary_texts_are_their_own_keys() -> None:
    for text in ("a/b.mp4", "clip 🎞.mp4", "back\\slash", "/absolute", "a//b", "new\nline", '"'):
        assert escape_key(text) == text


def test_keys_of_other_names_can_be_read_by_people() -> None:
    assert escape_key("caf\udce9\\.mp4") == "//caf\\xe9\\\\.mp4"
    assert escape_key("//cdn/x") == "////cdn/x"
    assert stand_in_key("line", 17) == "//line:17"


def test_integers_are_written_in_decimal() -> None:
    assert make_key(-12) == "-12"
    assert make_key(2**70) == "1180591620717411303424"


@pytest.mark.parametrize(
    "value", [None, True, 1.0, b"a", "", ["a"], pytest.param(10**5000, id="huge")]
)
def test_other_values_are_no_keys(value: object) -> None:
    with pytest.raises(NoKey):
        make_key(value)
