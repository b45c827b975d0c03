"""A replacement that was begun: nothing vouches for what is half old and half new."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.errors import CorruptError, RefusedError
from batten.inspect.clean import clean_output
from batten.inspect.diagnose import diagnose
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import RecoveryVerb, recover_output
from batten.inspect.show import show
from batten.inspect.verifying.verify import verify
from batten.model.disk.records import Replacing, encode_record


def recover(path: Path, *, dry_run: bool = False) -> list[RecoveryVerb]:
    place = locate_output(path)
    recovery = recover_output(place, should_recompute=False, is_dry_run=dry_run)
    return [step.kind for step in recovery.steps]


def begin_replacement(built) -> dict[str, bytes]:  # type: ignore[no-untyped-def]
    """The dataset itself waits in `fresh/` to replace a copy whose first part is damaged."""
    whole = {name: data for name, data in built.files().items() if name.startswith("features/")}
    fresh = built.root / built.layout.fresh_folder
    shutil.copytree(built.root, built.root / "copy", ignore=shutil.ignore_patterns("copy"))
    shutil.move(built.root / "copy", fresh)
    entries = ["COMPLETE", "commits", "dataset.json", "plan", "quarantine", "runs", "schema.json"]
    entries += ["recompute", "staged"]
    journal = Replacing(entries=sorted(entries), run="r", time="t")
    built.write(built.layout.replacing, encode_record(journal))
    built.part(0).write_bytes(b"")
    return whole


def test_nothing_vouches_for_it(build: Callable) -> None:
    built = build()
    begin_replacement(built)
    found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("RECOVERY_PENDING", "recover", 12)
    before = built.files()
    for look in (verify, show):
        with pytest.raises(RefusedError):
            look(built.path)
    for is_dry_run in (True, False):
        with pytest.raises(RefusedError):
            clean_output(locate_output(built.path), older_than_seconds=0, is_dry_run=is_dry_run)
    assert built.files() == before


def test_recover_rolls_it_forward(build: Callable) -> None:
    built = build()
    whole = begin_replacement(built)
    before = built.files()
    assert recover(built.path, dry_run=True) == [RecoveryVerb.ROLL_FORWARD]
    assert built.files() == before
    assert recover(built.path)[0] is RecoveryVerb.ROLL_FORWARD
    after = {name: data for name, data in built.files().items() if name.startswith("features/")}
    assert after == whole
    assert (diagnose(built.path).state, verify(built.path).is_sound) == ("COMPLETE", True)
    assert recover(built.path) == []


def test_a_journal_whose_new_dataset_is_gone_is_told(build: Callable) -> None:
    built = build()
    begin_replacement(built)
    journal = Replacing(entries=[], run="r", time="t")
    built.write(built.layout.replacing, encode_record(journal))
    shutil.rmtree(built.root / built.layout.fresh_folder)
    before = built.files()
    with pytest.raises(CorruptError):
        recover(built.path)
    assert built.files() == before


def test_an_unreadable_journal_is_told(build: Callable) -> None:
    built = build()
    begin_replacement(built)
    built.write(built.layout.replacing, b"{")
    before = built.files()
    with pytest.raises(CorruptError):
        recover(built.path)
    assert built.files() == before
