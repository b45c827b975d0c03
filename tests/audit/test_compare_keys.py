"""The comparison itself: sets of keys in, an exact partition out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batten.model.audit.advice import AuditedFiles, advise, show_key
from batten.model.audit.comparison import DoneKeys, MissingPlace, StagedKeys, compare_keys

_KEYS = st.lists(st.sampled_from([f"k{number}" for number in range(12)]), max_size=20)
_ROWS = st.lists(st.one_of(st.none(), st.sampled_from([f"k{n}" for n in range(12)])), max_size=20)
_FILES = AuditedFiles(done="clips.done", rows="rows.parquet", key="clip", staging="staging.jsonl")


@given(done=_KEYS, rows=_ROWS, staged=_KEYS)
def test_every_key_is_told_once_and_in_its_place(
    done: list[str], rows: list[str | None], staged: list[str]
) -> None:
    audit = compare_keys(DoneKeys(keys=done), rows, StagedKeys(keys=staged))
    done_set, row_set = set(done), {row for row in rows if row is not None}

    assert set(audit.missing) == done_set - row_set
    assert set(audit.extra) == row_set - done_set
    assert set(audit.duplicates) == {row for row in row_set if rows.count(row) > 1}
    assert set(audit.done_duplicates) == {key for key in done_set if done.count(key) > 1}
    assert set(audit.recoverable) == set(audit.missing) & set(staged)
    assert set(audit.unrecoverable) == set(audit.missing) - set(staged)
    assert set(audit.staged_only) == set(staged) - done_set - row_set
    assert audit.null_keys == rows.count(None)
    assert (audit.done, audit.rows) == (len(done), len(rows))
    assert (audit.done_keys, audit.row_keys) == (len(done_set), len(row_set))
    for keys in (audit.missing, audit.extra, audit.duplicates, audit.recoverable):
        assert len(keys) == len(set(keys))
    assert list(audit.missing) == [key for key in dict.fromkeys(done) if key not in row_set]
    assert list(audit.extra) == [
        key for key in dict.fromkeys(rows) if key is not None and key not in done_set
    ]


@given(done=_KEYS, rows=_ROWS)
def test_consistent_means_one_row_for_each_key_that_is_done(
    done: list[str], rows: list[str | None]
) -> None:
    audit = compare_keys(DoneKeys(keys=done), rows)
    one_row_each = None not in rows and len(rows) == len(set(rows)) and set(rows) == set(done)
    assert audit.is_consistent == one_row_each


@given(done=_KEYS, rows=_ROWS, staged=st.none() | _KEYS)
def test_the_advice_fits_the_state(
    done: list[str], rows: list[str | None], staged: list[str] | None
) -> None:
    audit = compare_keys(DoneKeys(keys=done), rows, StagedKeys(keys=staged) if staged else None)
    advice = advise(audit, _FILES)
    assert (advice.next == ("Nothing to do.",)) == audit.is_consistent
    assert advice.reason.startswith("Do not trust") == (not audit.is_consistent)
    agree = any(hint.startswith("The counts agree") for hint in advice.hints)
    assert agree == (len(done) == len(rows) and not audit.is_consistent)


def test_the_place_of_the_missing_keys_is_told() -> None:
    keys = [f"k{number}" for number in range(10)]

    def find_place(rows: list[str]) -> MissingPlace:
        return compare_keys(DoneKeys(keys=keys), rows).missing_place

    assert find_place(keys) is MissingPlace.NOWHERE
    assert find_place([]) is MissingPlace.EVERYWHERE
    assert find_place(keys[:4]) is MissingPlace.TAIL
    assert find_place(keys[7:]) is MissingPlace.HEAD
    assert find_place(keys[::2]) is MissingPlace.SCATTERED


def test_a_key_stays_on_one_line_of_the_screen() -> None:
    assert show_key("a\nb\tc") == "a\\nb\\tc"
    assert show_key("caf\udce9.mp4") == "caf\\udce9.mp4"
    assert show_key("\0\0") == "\\x00\\x00"
    assert show_key("x" * 100) == "x" * 57 + "..."
