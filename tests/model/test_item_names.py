"""Names of items' files come from data: whatever that is, they stay in the output's folder."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batten.model.disk.items.item_files import ItemFile, PlacedFiles, name_made
from batten.model.disk.items.item_names import BadNameError, NamePattern, fill_around, split_pattern
from batten.model.disk.names import Layout, find_made
from batten.model.disk.records import Unreadable, decode_record, encode_record

MARK = f"5 {'0' * 64}"


@pytest.mark.parametrize(
    ("written", "folder", "rest"),
    [
        ("thumbs/{key}.png", "thumbs", "{key}.png"),
        ("out/small/{stem}/{name}", "out/small", "{stem}/{name}"),
        ("/abs/of/{key}", "/abs/of", "{key}"),
        ("{key}.png", "", "{key}.png"),
        ("out/{run_date}/{key}", "out/{run_date}", "{key}"),
        ("out/same.png", "out/same.png", ""),
    ],
)
def test_the_folder_ends_before_the_first_place(written: str, folder: str, rest: str) -> None:
    assert split_pattern(written) == (folder, NamePattern(text=rest))


@pytest.mark.parametrize(
    ("pattern", "key", "name", "filled"),
    [
        ("{key}.png", "a/b.mp4", "", "a/b.mp4.png"),
        ("{stem}.png", "a/b.mp4", "", "a/b.png"),
        ("{stem}.png", "a.b/c", "", "a.b/c.png"),
        ("{stem}.png", ".hidden", "", ".hidden.png"),
        ("{stem}.png", "archive.tar.gz", "", "archive.tar.png"),
        ("{key}/{name}.txt", "7", "de/x", "7/de/x.txt"),
        ("{key}", "{key}{name}", "", "{key}{name}"),
    ],
)
def test_a_pattern_is_filled_once(pattern: str, key: str, name: str, filled: str) -> None:
    assert NamePattern(text=pattern).fill(key, name) == filled
    assert NamePattern(text=pattern).is_like(filled)


KEYS = st.text() | st.lists(st.sampled_from(["..", ".", "", "a", "\0", "é", "\ud800"])).map(
    "/".join
)


@given(KEYS, KEYS, st.sampled_from(["{key}", "{stem}.x", "in/{key}/{name}", "{key}{name}"]))
def test_whatever_the_key_is_the_name_stays_in_the_folder(key: str, name: str, text: str) -> None:
    try:
        filled = NamePattern(text=text).fill(key, name)
    except BadNameError:
        return
    assert not posixpath.isabs(filled)
    assert posixpath.normpath(f"/out/{filled}") == f"/out/{filled}"
    assert all(
        0 < len(piece.encode(errors="surrogateescape")) <= 255 for piece in filled.split("/")
    )


def test_parameters_are_filled_around_the_places() -> None:
    assert fill_around("{key}-{size}.{name}", str.upper) == "{key}-{SIZE}.{name}"


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/./b", "a/..", "", "\0", "x" * 256])
@pytest.mark.parametrize("field", ["files", "leaving"])
def test_a_record_with_a_name_that_leads_elsewhere_is_unreadable(name: str, field: str) -> None:
    found = (
        {"files": {name: MARK}} if field == "files" else {"files": {}, "leaving": {name: [MARK]}}
    )
    record = PlacedFiles(batch=0, content="", **found)  # type: ignore[arg-type]
    with pytest.raises(Unreadable):
        decode_record(PlacedFiles, encode_record(record))


@pytest.mark.parametrize("mark", ["", "5", "5 abc", f"-1 {'0' * 64}", f"5 {'G' * 64}"])
def test_a_record_with_a_mark_that_is_none_is_unreadable(mark: str) -> None:
    record = PlacedFiles(batch=0, content="", files={"a": mark})
    with pytest.raises(Unreadable):
        decode_record(PlacedFiles, encode_record(record))


def test_where_a_file_is_made_follows_from_its_row() -> None:
    file = ItemFile(name="a", size=5, digest="0" * 64)
    made = name_made(Layout("out"), 42, file)
    assert made.startswith("out.batten/made/000042-")
    assert find_made(made.rpartition("/")[2]) == 42
    assert name_made(Layout("out"), 42, ItemFile(name="b", size=5, digest="0" * 64)) != made
