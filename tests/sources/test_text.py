"""Lines of JSON and records of CSV: every one is an item, whatever is wrong with it."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batten.errors import StorageError, UsageError
from batten.sources.base import SCAN_BLOCK_ITEMS, ItemsWanted, Unavailable
from batten.sources.identity.keys import NoKey, make_key, make_keys
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource

JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
CSV_PIECES = ['"', '""', ",", "\n", "\r\n", "a", "é", " ", "\u2028", "🎞"]
CSV_TEXT = st.lists(st.sampled_from(CSV_PIECES), max_size=25).map("".join)
SOURCES = [JsonLinesSource, CsvSource]


def write(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder


def check_ranges(source: Any, expected: list[Any], data: st.DataObject, sources: Any) -> None:
    """The whole, and a part of it read by a fresh reader, are as expected."""
    plan = sources.plan(source)
    assert sources.read_range(source.open(), plan) == expected
    start = data.draw(st.integers(0, len(expected)))
    stop = data.draw(st.integers(start, len(expected)))
    assert sources.read_range(source.open(), plan, start, stop) == expected[start:stop]


@given(
    values=st.lists(JSON_VALUES, max_size=12),
    blank=st.sampled_from(["", "\n", " \t\n\r\n"]),
    end=st.sampled_from(["", "\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    data=st.data(),
)
def test_any_json_is_read_back(
    values: list[Any], blank: str, end: str, mark: bytes, data: st.DataObject, sources: Any
) -> None:
    text = blank + f"\n{blank}".join(json.dumps(value, ensure_ascii=False) for value in values)
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), "x.jsonl", mark + (text + end).encode("utf-8", "surrogatepass"))
        check_ranges(JsonLinesSource("x.jsonl", folder=folder), values, data, sources)


@given(
    rows=st.lists(st.tuples(CSV_TEXT, CSV_TEXT), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    delimiter=st.sampled_from([",", ";", "\t", "|", "^", "]", "\\", "-"]),
    data=st.data(),
)
def test_any_csv_is_read_back(
    rows: list[tuple[str, str]],
    end: str,
    mark: bytes,
    delimiter: str,
    data: st.DataObject,
    sources: Any,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, delimiter=delimiter)
    writer.writerows([("a", 'b,"\n'), *rows])
    expected = [{"a": one, 'b,"\n': two} for one, two in rows]
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), "x.csv", mark + text.getvalue().encode())
        source = CsvSource("x.csv", folder=folder, delimiter=delimiter)
        check_ranges(source, expected, data, sources)


@given(text=CSV_TEXT)
@example(text='x,5" disk\ny,"b\n')
@example(text='"a""\n",b')
@example(text='"a"b,"c\nd"\n')
def test_records_divide_as_the_csv_module_divides_them(text: str, sources: Any) -> None:
    try:
        expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), "x.csv", b"p,q\n" + text.encode())
        got = sources.read(CsvSource("x.csv", folder=folder))
    assert [list(row.values()) for row in got if isinstance(row, dict)] == [
        row for row in expected if len(row) == 2
    ]
    assert len(got) == len(expected)


def test_a_long_field_is_read_like_any_other(tmp_path: Path, sources: Any) -> None:
    """Python's csv module stops at 128 KiB, unless the process says otherwise."""
    before = csv.field_size_limit()
    long, quoted = "x" * 500_000, '"' + "a\n" * 100_000 + '"'
    (tmp_path / "in.csv").write_text(f"id,text\n1,short\n2,{long}\n3,{quoted}\n")
    source = CsvSource("in.csv", key="id", folder=tmp_path)
    assert [len(item["text"]) for item in sources.read(source)] == [5, 500_000, 200_000]
    assert csv.field_size_limit() == before


def test_a_malformed_line_is_an_item(tmp_path: Path, sources: Any) -> None:
    deep = b"[" * 100_000
    lines = [b'{"id": 1}', b"{torn", b"", b'{"id": "\xff"}', deep, b'{"id": 2}']
    write(tmp_path, "x.jsonl", b"\n".join(lines))
    shown = sources.read(JsonLinesSource("x.jsonl", folder=tmp_path))
    assert (shown[0], shown[4]) == ({"id": 1}, {"id": 2})
    assert [item[:2] for item in shown[1:4]] == [("unavailable", "ValueError")] * 3
    assert "at byte 10: the line is not JSON" in shown[1][2]
    assert "not UTF-8" in shown[2][2]
    keyed = sources.pairs(JsonLinesSource("x.jsonl", key="id", folder=tmp_path))
    assert [key for key, _ in keyed] == ["1", "//line:2", "//line:4", "//line:5", "2"]
    assert [item for _, item in keyed] == shown


def test_a_line_without_a_key_is_an_item(tmp_path: Path, sources: Any) -> None:
    lines = [b'{"id": "//line:2"}', b'{"other": 1}', b'{"id": null}', b"[1]", b'{"id": 1.5}']
    write(tmp_path, "x.jsonl", b"\n".join([*lines, b'{"id": ""}', b'{"id": "\\ud800"}', b""]))
    keyed = sources.pairs(JsonLinesSource("x.jsonl", key="id", folder=tmp_path))
    assert [key for key, _ in keyed] == [
        "////line:2",
        *(f"//line:{number}" for number in range(2, 7)),
        "//\\ud800",
    ]
    assert [item[:2] for _, item in keyed[1:6]] == [("unavailable", "NoKey")] * 5
    assert "'id' is missing" in keyed[1][1][2]


def test_a_malformed_record_is_an_item(tmp_path: Path, sources: Any) -> None:
    rows = [b'a,"1\n1"', b"few", b"b,2,many", b"\xff,3", b'"c"d,4', b",6"]
    write(tmp_path, "x.csv", b"\n".join([b"id,n", *rows, b"f,7", b""]))
    keyed = sources.pairs(CsvSource("x.csv", key="id", folder=tmp_path))
    assert keyed[0] == ("a", {"id": "a", "n": "1\n1"})
    assert keyed[-1] == ("f", {"id": "f", "n": "7"})
    assert [key for key, _ in keyed[1:-1]] == [f"//line:{line}" for line in (4, 5, 6, 7, 8)]
    texts = ["1 fields", "3 fields", "not UTF-8", "not CSV", "is empty"]
    for (_, item), text in zip(keyed[1:-1], texts, strict=True):
        assert item[0] == "unavailable"
        assert text in item[2]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\n\r\n", "empty"),
        (b"a,b,a\n", "'a' more than once"),
        (b"\xff,b\n", "UTF-8"),
        (b"name,b\n", "no 'id', but 'name', 'b'"),
        (b'id,b\n1,"never\nclosed\n', "line 2 is never closed"),
        (b'id,"b\n', "line 1 is never closed"),
    ],
)
def test_a_csv_that_cannot_be_understood_as_a_whole_is_refused(
    tmp_path: Path, data: bytes, text: str
) -> None:
    write(tmp_path, "x.csv", data)
    with pytest.raises(UsageError, match=text):
        list(CsvSource("x.csv", key="id", folder=tmp_path).scan())


def test_a_quote_that_swallows_the_file_is_refused_before_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batten.sources.records.text.RECORD_BYTES_MAX", 1000)
    write(tmp_path, "x.csv", b'a\n"open\n' + b"line\n" * 300 + b'"\n')
    with pytest.raises(UsageError, match="line 2 is never closed"):
        list(CsvSource("x.csv", folder=tmp_path).scan())


def test_a_header_alone_and_an_empty_file_of_lines_are_empty_scans(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", b"a,b")
    write(tmp_path, "x.jsonl", b"\n \n")
    assert list(CsvSource("x.csv", folder=tmp_path).scan()) == []
    assert list(JsonLinesSource("x.jsonl", folder=tmp_path).scan()) == []


@pytest.mark.parametrize("make", SOURCES)
def test_a_wrong_path_is_said(make: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").touch()
    for name, text in [("gone", "no file"), (".", "a folder"), ("pipe", "twice"), ("x/y", "no f")]:
        kind = StorageError if text.startswith("no f") else UsageError
        with pytest.raises(kind, match=text) as caught:
            list(make(name, folder=tmp_path).scan())
        assert str(tmp_path) in str(caught.value)
    for refused in ("", "a\0b", 7):
        with pytest.raises(UsageError):
            make(refused, folder=tmp_path)
    for key in ("", 7):
        with pytest.raises(UsageError, match="key="):
            make("x", key=key, folder=tmp_path)


@pytest.mark.parametrize("make", SOURCES)
def test_what_the_machine_cannot_read_is_a_storage_error(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    source = make("loop", folder=tmp_path)
    for fail in (lambda: list(source.scan()), source.open):
        with pytest.raises(StorageError) as caught:
            fail()
        assert caught.value.errno is not None


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "é"])
def test_a_delimiter_that_cannot_divide_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(UsageError, match="delimiter"):
        CsvSource("x.csv", folder=tmp_path, delimiter=delimiter)


def test_a_file_that_changed_gives_no_other_item(tmp_path: Path, sources: Any) -> None:
    write(tmp_path, "x.jsonl", b'{"id": "a"}\n{"id": "b"}\n{"id": "c"}\n')
    unkeyed = JsonLinesSource("x.jsonl", folder=tmp_path)
    keyed = JsonLinesSource("x.jsonl", key="id", folder=tmp_path)
    plans = [sources.plan(unkeyed), sources.plan(keyed)]
    write(tmp_path, "x.jsonl", b'{"id": "x"}\n{"id": "long"}')
    shown = sources.read_range(keyed.open(), plans[1])
    assert [item[1] for item in shown] == ["SourceChanged"] * 3
    shown = sources.read_range(unkeyed.open(), plans[0], 2, 3)
    assert shown[0][1] == "SourceChanged"
    shown = sources.read_range(unkeyed.open(), plans[0])
    assert shown[0:2] == [{"id": "x"}, {"id": "long"}]
    assert shown[2][1] == "SourceChanged"


def test_a_line_that_became_blank_is_not_replaced_by_the_next(tmp_path: Path, sources: Any) -> None:
    write(tmp_path, "x.jsonl", b"1\n2\n3\n")
    source = JsonLinesSource("x.jsonl", folder=tmp_path)
    plan = sources.plan(source)
    write(tmp_path, "x.jsonl", b"1\n \n3\n")
    first, second, third = sources.read_range(source.open(), plan)
    assert (first, third) == (1, 3)
    assert second[1] == "SourceChanged"


def test_a_reader_goes_on_after_a_record_it_could_not_read(tmp_path: Path, sources: Any) -> None:
    write(tmp_path, "x.csv", b"a\n1\n2\n3\n")
    source = CsvSource("x.csv", folder=tmp_path)
    wanted = ItemsWanted(first_ordinal=0, count=4, positions=[99, 3, 6, 2])
    shown = sources.show(source.open().read(wanted))
    assert shown[2:] == [{"a": "3"}, {"a": "1"}]
    assert [item[1] for item in shown[:2]] == ["SourceChanged"] * 2


def test_lines_added_later_leave_the_plan_as_it_was(tmp_path: Path, sources: Any) -> None:
    write(tmp_path, "x.jsonl", b"1\n2\n")
    source = JsonLinesSource("x.jsonl", folder=tmp_path)
    before = sources.plan(source)
    with (tmp_path / "x.jsonl").open("ab") as file:
        file.write(b"3\n")
    after = sources.plan(source)
    assert after.positions[:2] == before.positions
    assert sources.read(source) == [1, 2, 3]


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    peaks = []
    for blocks in (12, 24):
        write(tmp_path, "x.jsonl", b'{"id": "some key"}\n' * (blocks * SCAN_BLOCK_ITEMS))
        tracemalloc.start()
        for _ in JsonLinesSource("x.jsonl", folder=tmp_path).scan():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_reading_needs_offsets(tmp_path: Path) -> None:
    write(tmp_path, "x.jsonl", b"1\n")
    reader = JsonLinesSource("x.jsonl", folder=tmp_path).open()
    with pytest.raises(ValueError, match="offsets"):
        list(reader.read(ItemsWanted(first_ordinal=0, count=1)))
    assert not isinstance(
        next(iter(reader.read(ItemsWanted(first_ordinal=0, count=1, positions=[0])))), Unavailable
    )


def test_lines_that_are_only_json_together_have_no_keys(tmp_path: Path, sources: Any) -> None:
    """Lines are parsed many at a time; what goes over a line's end is no item of either line."""
    pieces = [
        b'{"id": "one"}\n{"id": "two"},{"id": "more"}\n{"id": "three"}\n',
        b'{"id": "one"}\n{"id":\n"two"}\n{"id": "three"}\n',
        b'{"id": "one"}\n[{"id": "two"}\n{"id": "more"}]\n{"id": "three"}\n',
        b'{"id": "one"}\n{"id": "two\nmore"}\n{"id": "three"}\n',
        b'{"id": "one"}\n]\n[\n{"id": "three"}\n',
        b'{"id": "one"}\n{"id": 1},{"id": 2},{"id": 3}\n{"id": 4, "no": [1\n2]}\n{"id": "three"}\n',
        b'{"id": "one"}\n[1\n2]\n1,2\n{"id": "three"}\n',
        b'{"id": "one"}\n{"id": ""}\n{"id": null}\n{"no": 1}\n[0]\n"id"\n{"id": "three"}\n',
        b'{"id": "one"}\n{"id": "\xff"}\n{"id": "three"}',
    ]
    for content in pieces:
        write(tmp_path, "x.jsonl", content)
        planned = sources.plan(JsonLinesSource("x.jsonl", key="id", folder=tmp_path))
        lines = content.splitlines()
        wrong = [f"//line:{number}" for number in range(2, len(lines))]
        assert list(planned.keys) == ["one", *wrong, "three"], content


def test_keys_found_together_are_those_found_alone() -> None:
    values = ["a", "//a", "é", "a\n//b", "\udc80", "\\", "", "a//b"]
    texts = [value for value in values if value]
    for chosen in ([*texts], ["a", "é", "a//b"], ["//a"], ["a", "//b"], ["a", "\ud800"], [1, "1"]):
        assert make_keys(chosen) == [make_key(value) for value in chosen]
    for wrong in ([""], ["a", None], ["a", 1.5], [True]):
        with pytest.raises(NoKey):
            make_keys(wrong)
