"""What the files may hold: other types and endings, damage, nothing at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.errors import CorruptError, StorageError, UsageError
from batten.model.audit.comparison import StagedKeys
from batten.strangers import audit as module
from batten.strangers.audit import audit_files

if TYPE_CHECKING:
    from conftest import HandMade

_TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int32(), pa.string()),
]


@pytest.mark.parametrize("kind", _TEXT_TYPES, ids=str)
def test_keys_of_any_type_of_text(hand_made: HandMade, kind: pa.DataType) -> None:
    hand_made.write_done(["a", "b"])
    pq.write_table(pa.table({"clip": pa.array(["a", None, "c"]).cast(kind)}), hand_made.rows)
    audit = hand_made.audit().audit
    assert (audit.missing, audit.extra, audit.null_keys) == (("b",), ("c",), 1)
    assert audit.rows == 3


_INTEGERS = [
    pa.array([1, 3]),
    pa.array([1, 3], pa.uint8()),
    pa.array([1, 3], pa.int32()).dictionary_encode(),
]


@pytest.mark.parametrize("keys", _INTEGERS, ids=lambda keys: str(keys.type))
def test_keys_that_are_integers(hand_made: HandMade, keys: pa.Array) -> None:
    hand_made.write_done(["1", "2"])
    pq.write_table(pa.table({"clip": keys}), hand_made.rows)
    hand_made.staging.write_text('{"clip": 2}\n{"clip": true}\n{"clip": 2.0}\n')
    audit = hand_made.audit().audit
    assert (audit.missing, audit.extra, audit.recoverable) == (("2",), ("3",), ("2",))
    assert audit.staged is not None
    assert [line.number for line in audit.staged.malformed] == [2, 3]


def test_rows_without_a_key_are_an_inconsistency(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a", None])
    report = hand_made.audit()
    assert not report.audit.is_consistent
    assert report.advice.reason.endswith("1 row has no key.")


def test_a_column_of_nothing_but_nulls(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    pq.write_table(pa.table({"clip": pa.nulls(2)}), hand_made.rows)
    audit = hand_made.audit().audit
    assert (audit.missing, audit.null_keys, audit.rows) == (("a",), 2, 2)


def test_line_ends_blank_lines_and_spaces_of_the_done_file(hand_made: HandMade) -> None:
    hand_made.done.write_bytes(b"a\r\nb\n\n c \n\r\n\n")
    hand_made.write_rows(["a", "b", " c "])
    report = hand_made.audit()
    assert report.audit.is_consistent
    assert (report.audit.done, report.audit.torn_key) == (3, None)


def test_a_done_file_that_ends_without_a_newline(hand_made: HandMade) -> None:
    hand_made.done.write_text("clip_0000.mp4\nclip_00")
    hand_made.write_rows(["clip_0000.mp4", "clip_0001.mp4"])
    report = hand_made.audit()
    assert report.audit.torn_key == "clip_00"
    assert report.audit.missing == ("clip_00",)
    assert any("'clip_00' may be cut short" in hint for hint in report.advice.hints)


def test_names_that_are_not_utf_8_agree_in_all_three_files(hand_made: HandMade) -> None:
    hand_made.done.write_bytes(b"caf\xe9.mp4\nbar\xe9.mp4\n")
    pq.write_table(pa.table({"clip": pa.array([b"caf\xe9.mp4"])}), hand_made.rows)
    hand_made.staging.write_text('{"clip": "bar\\udce9.mp4"}\n')
    audit = hand_made.audit().audit
    assert audit.missing == audit.recoverable == ("bar\udce9.mp4",)


def test_done_lines_that_repeat_are_told_and_do_no_harm(hand_made: HandMade) -> None:
    hand_made.write_done(["a", "b", "a", "a"])
    hand_made.write_rows(["a", "b"])
    report = hand_made.audit()
    assert report.audit.is_consistent
    assert report.audit.done_duplicates == ("a",)
    assert (report.audit.done, report.audit.done_keys) == (4, 2)


def test_zero_bytes_that_a_power_loss_left(hand_made: HandMade) -> None:
    hand_made.done.write_bytes(b"a\n" + bytes(4096))
    hand_made.write_rows(["a"])
    hand_made.staging.write_bytes(b'{"clip": "a"}\n' + bytes(4096))
    report = hand_made.audit()
    assert report.audit.missing == ("\0" * 4096,)
    assert report.audit.staged is not None
    assert report.audit.staged.torn_lines == 1


@pytest.mark.parametrize(
    "line",
    ["[1]", '"clip"', "{}", '{"clip": null}', '{"other": "a"}', '{"clip": "a"', "[" * 100_000],
    ids=lambda line: line[:20],
)
def test_malformed_staging_lines(hand_made: HandMade, line: str) -> None:
    hand_made.write_done(["a", "b"])
    hand_made.write_rows(["a"])
    hand_made.staging.write_text(f'\n{line}\n\n{{"clip": "b"}}\n')
    audit = hand_made.audit().audit
    assert audit.staged is not None
    assert [each.number for each in audit.staged.malformed] == [2]
    assert audit.staged.torn_lines == 0
    assert audit.recoverable == ("b",)


def test_a_last_staging_line_that_is_whole_but_for_its_newline(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows([])
    hand_made.staging.write_text('{"clip": "a"}')
    audit = hand_made.audit().audit
    assert audit.recoverable == ("a",)
    assert audit.staged is not None
    assert audit.staged.torn_lines == 0


def test_finished_work_that_is_neither_done_nor_a_row(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a"])
    hand_made.write_staging(["a", "b"])
    report = hand_made.audit()
    assert report.audit.staged_only == ("b",)
    assert any("neither done nor rows" in hint for hint in report.advice.hints)


def test_a_folder_of_parquet_files(hand_made: HandMade) -> None:
    hand_made.write_done(["a", "b", "c"])
    folder = hand_made.folder / "features"
    (folder / "day=1").mkdir(parents=True)
    (folder / "_temporary").mkdir()
    for name, keys in {"0": ["a"], "day=1/1": ["b", "a"], "_temporary/2": ["c"]}.items():
        pq.write_table(pa.table({"clip": keys}), folder / f"{name}.parquet")
    (folder / "_SUCCESS").touch()
    report = audit_files(str(hand_made.done), str(folder), "clip")
    assert report.audit.missing == ("c",)
    assert report.audit.duplicates == ("a",)
    assert [Path(name).name for name in report.files.unread] == ["_SUCCESS", "2.parquet"]
    assert any("2 files of" in hint for hint in report.advice.hints)


def test_a_column_with_a_point_in_its_name(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    pq.write_table(pa.table({"clip.id": ["a"], "clip": ["b"]}), hand_made.rows)
    assert audit_files(str(hand_made.done), str(hand_made.rows), "clip.id").audit.is_consistent


def test_a_column_beside_a_structure_of_the_same_path(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    pq.write_table(pa.table({"clip": [{"id": "b"}], "clip.id": ["a"]}), hand_made.rows)
    assert audit_files(str(hand_made.done), str(hand_made.rows), "clip.id").audit.is_consistent


@pytest.mark.parametrize("damage", ["empty", "short", "cut", "not Parquet", "zeros", "footer"])
def test_rows_that_cannot_be_read(hand_made: HandMade, clips: list[str], damage: str) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips)
    whole = hand_made.rows.read_bytes()
    footer = bytearray(whole)
    footer[-40:-10] = b"\xff" * 30
    hand_made.rows.write_bytes(
        {
            "empty": b"",
            "short": b"PAR",
            "cut": whole[: len(whole) // 2],
            "not Parquet": b"clip,frames\n" * 100,
            "zeros": whole[:50] + bytes(1000) + whole[1050:],
            "footer": bytes(footer),
        }[damage]
    )
    with pytest.raises(CorruptError, match="cannot be read") as raised:
        hand_made.audit()
    assert raised.value.safe == "Nothing was changed."
    assert "\n" not in raised.value.what


def test_one_unreadable_file_of_a_folder_is_named(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    folder = hand_made.folder / "features"
    folder.mkdir()
    pq.write_table(pa.table({"clip": ["a"]}), folder / "0.parquet")
    (folder / "1.parquet").touch()
    with pytest.raises(CorruptError, match=r"1\.parquet cannot be read"):
        audit_files(str(hand_made.done), str(folder), "clip")


@pytest.mark.parametrize("absent", ["clips.done", "features.parquet", "staging.jsonl"])
def test_a_file_that_is_not_there(hand_made: HandMade, absent: str) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a"])
    hand_made.write_staging(["a"])
    (hand_made.folder / absent).unlink()
    with pytest.raises(UsageError, match=f"There is no file .*{absent}"):
        audit_files(str(hand_made.done), str(hand_made.rows), "clip", str(hand_made.staging))


def test_folders_in_the_wrong_place(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a"])
    with pytest.raises(UsageError, match="is a folder"):
        audit_files(str(hand_made.folder), str(hand_made.rows), "clip")
    hand_made.rows.unlink()
    with pytest.raises(UsageError, match="no Parquet file in the folder"):
        audit_files(str(hand_made.done), str(hand_made.folder), "clip")


def test_a_column_that_is_not_there(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a"])
    with pytest.raises(UsageError, match="has no column 'name'") as raised:
        audit_files(str(hand_made.done), str(hand_made.rows), "name")
    assert raised.value.next.endswith("clip, frames.")


def test_a_column_that_cannot_be_a_key(hand_made: HandMade) -> None:
    hand_made.write_done(["1"])
    pq.write_table(pa.table({"clip": [1.0]}), hand_made.rows)
    with pytest.raises(UsageError, match="holds double; keys are text, bytes or integers"):
        hand_made.audit()


def test_a_read_that_the_machine_fails(hand_made: HandMade) -> None:
    hand_made.write_rows(["a"])
    with pytest.raises(StorageError, match="/proc/self/mem could not be read") as raised:
        audit_files("/proc/self/mem", str(hand_made.rows), "clip")
    assert raised.value.errno == errno.EIO


def test_a_job_that_writes_during_the_audit_is_told(
    hand_made: HandMade, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_made.write_done(["a"])
    hand_made.write_rows(["a"])
    hand_made.write_staging([])
    load = module._load_staging

    def go_on(name: str, column: str) -> StagedKeys:
        """By now the audit has read the done file."""
        with hand_made.done.open("a") as done:
            done.write("b\n")
        return load(name, column)

    monkeypatch.setattr(module, "_load_staging", go_on)
    report = hand_made.audit()
    assert str(hand_made.done) in report.files.changed
    assert any("a job is still writing" in hint for hint in report.advice.hints)


@pytest.mark.parametrize("which", ["done", "staging"])
def test_a_file_that_is_one_huge_line_is_told(tmp_path: Path, which: str) -> None:
    """Without reading all of it: it would fill the memory."""
    files = {name: tmp_path / name for name in ("done", "staging", "rows.parquet")}
    pq.write_table(pa.table({"key": ["a"]}), files["rows.parquet"])
    files["done"].write_text("a\n")
    files["staging"].write_text("")
    os.truncate(files[which], 20 * 2**30)
    with pytest.raises(UsageError, match=r"more than 67\.1 MB"):
        audit_files(
            str(files["done"]), str(files["rows.parquet"]), "key", staging=str(files["staging"])
        )
