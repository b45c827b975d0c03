"""When the collector of garbage looks at nothing, and at what it looks no more."""

from __future__ import annotations

import gc

import pytest

from batten.garbage import _Kept, collector_paused, keep_for_good


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Kept, "is_something", False)


def test_what_there_is_counts_as_old() -> None:
    with collector_paused():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert not any(each is made for each in gc.get_objects(generation=0))
    assert gc.get_freeze_count() == 0


def test_what_is_kept_for_good_stays_kept_and_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To count it takes as long as to look at it: a tenth of a short run, three times over."""
    keep_for_good()
    kept = gc.get_freeze_count()
    counted: list[None] = []
    with monkeypatch.context() as patch:
        patch.setattr(gc, "get_freeze_count", lambda: counted.append(None) or kept)
        with collector_paused():
            pass
    assert (gc.isenabled(), counted) == (True, [])
    assert gc.get_freeze_count() >= kept - 100 > 0


def test_what_others_keep_stays_kept_and_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.freeze()
    kept = gc.get_freeze_count()
    counted: list[None] = []
    with monkeypatch.context() as patch:
        patch.setattr(gc, "get_freeze_count", lambda: counted.append(None) or kept)
        for _ in range(3):
            with collector_paused():
                pass
    assert len(counted) == 1
    assert gc.get_freeze_count() >= kept - 100 > 0
