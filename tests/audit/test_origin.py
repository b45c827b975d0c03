"""The ways in which a done file came to lie, each built as it happened, but smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batten.errors import CorruptError

if TYPE_CHECKING:
    from conftest import HandMade


def test_all_marked_as_done_and_less_than_half_of_the_rows(
    hand_made: HandMade, clips: list[str]
) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips[:400])
    report = hand_made.audit()
    assert not report.audit.is_consistent
    assert report.audit.missing == tuple(clips[400:])
    assert report.advice.reason == (
        f"Do not trust {hand_made.done}: 600 of its 1,000 keys have no row."
    )
    hints = " ".join(report.advice.hints)
    assert "says 'nothing to do' on every run" in hints
    assert "exactly the last 600" in hints
    assert "--staging" in hints


def test_a_torn_staging_tail_that_was_skipped(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips[:999])
    hand_made.write_staging(clips[:999], tail='{"clip": "clip_0999.mp4", "fra')
    report = hand_made.audit()
    assert report.audit.missing == ("clip_0999.mp4",)
    assert report.audit.recoverable == ()
    assert report.audit.staged is not None
    assert report.audit.staged.torn_lines == 1
    assert any("is torn: a crash cut it" in hint for hint in report.advice.hints)
    assert any("Remove the 1 missing key from" in step for step in report.advice.next)


def test_an_append_after_a_torn_tail(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips[:6])
    hand_made.write_rows(clips[:3])
    torn = '{"clip": "clip_0004.mp4", "fra{"clip": "clip_0005.mp4", "frames": 250}\n'
    hand_made.write_staging(clips[3:4], tail=torn)
    report = hand_made.audit()
    staged = report.audit.staged
    assert staged is not None
    assert (staged.torn_lines, len(staged.malformed)) == (0, 1)
    assert staged.malformed[0].number == 2
    assert staged.malformed[0].why == "two records run together, the first cut short"
    assert report.audit.recoverable == ("clip_0003.mp4",)
    assert report.audit.unrecoverable == ("clip_0004.mp4", "clip_0005.mp4")


def test_rows_that_were_staged_and_never_merged(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips[:400])
    hand_made.write_staging(clips[380:700])
    report = hand_made.audit()
    assert report.audit.recoverable == tuple(clips[400:700])
    steps = " ".join(report.advice.next)
    assert "300 of the 600 missing rows can be recovered" in steps
    assert "Remove the 300 other missing keys" in steps


def test_staging_was_deleted_before_the_rows_were_durable(
    hand_made: HandMade, clips: list[str]
) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips)
    hand_made.rows.write_bytes(hand_made.rows.read_bytes()[:2000])
    with pytest.raises(CorruptError, match=r"features\.parquet cannot be read") as raised:
        hand_made.audit()
    assert raised.value.safe == "Nothing was changed."


def test_unreadable_rows_and_what_staging_still_holds(
    hand_made: HandMade, clips: list[str]
) -> None:
    hand_made.write_done(clips)
    hand_made.rows.touch()
    hand_made.write_staging(clips[:620])
    with pytest.raises(CorruptError) as raised:
        hand_made.audit()
    assert "whole rows for 620 of the 1,000 keys" in raised.value.safe
    assert raised.value.safe.startswith("Nothing was changed.")


def test_a_later_run_left_only_its_own_three_rows(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips[-3:])
    report = hand_made.audit()
    assert report.audit.missing == tuple(clips[:-3])
    assert any(
        hint.startswith("Only the last 3 keys have rows: a later run may have replaced the file")
        for hint in report.advice.hints
    )


def test_counts_that_agree_hide_keys_that_do_not(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips[:500])
    hand_made.write_rows(clips[500:])
    report = hand_made.audit()
    assert not report.audit.is_consistent
    assert (report.audit.done, report.audit.rows) == (500, 500)
    assert report.audit.missing == tuple(clips[:500])
    assert report.audit.extra == tuple(clips[500:])
    hints = " ".join(report.advice.hints)
    assert "The counts agree (500 and 500) but the keys do not." in hints
    assert "No key is in both" in hints


def test_counts_that_agree_hide_one_key_that_is_there_twice(
    hand_made: HandMade, clips: list[str]
) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows([*clips[:-1], clips[0]])
    report = hand_made.audit()
    assert report.audit.missing == (clips[-1],)
    assert report.audit.duplicates == (clips[0],)
    assert report.audit.is_hidden_by_counts


def test_nothing_wrong(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(list(reversed(clips)))
    hand_made.write_staging(clips)
    report = hand_made.audit()
    assert report.audit.is_consistent
    assert report.advice.hints == ()
    assert report.advice.next == ("Nothing to do.",)
