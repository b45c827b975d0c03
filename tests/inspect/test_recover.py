"""Recover does what is safe, loses nothing, and may be killed and repeated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batten.errors import BusyError, CorruptError, InconsistentError, RefusedError
from batten.inspect.clean import clean_output
from batten.inspect.diagnose import diagnose
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import Recovery, RecoveryVerb, apply_steps, decide_steps, recover_output
from batten.inspect.show import show
from batten.inspect.verifying.verify import find_faults, verify
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.records import CommitRecord, decode_record
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder


def recover(path: Path, *, recompute: bool = False, dry_run: bool = False) -> Recovery:
    return recover_output(locate_output(path), should_recompute=recompute, is_dry_run=dry_run)


def kinds(recovery: Recovery) -> list[RecoveryVerb]:
    return [step.kind for step in recovery.steps]


def test_a_lost_record_is_made_anew_and_the_same(build: Callable) -> None:
    built = build()
    before = decode_record(CommitRecord, built.commit(1).read_bytes())
    built.commit(1).unlink()
    assert kinds(recover(built.path)) == [RecoveryVerb.REBUILD_RECORD]
    after = decode_record(CommitRecord, built.commit(1).read_bytes())
    assert {**vars(before), "run": "recover", "time": ""} == {**vars(after), "time": ""}
    assert verify(built.path).is_sound
    assert recover(built.path).steps == ()


def test_all_records_are_made_anew_even_where_complete_vouches(build: Callable) -> None:
    built = build(quarantined=frozenset())
    for batch in range(3):
        built.commit(batch).unlink()
    assert len(recover(built.path).steps) == 3
    assert verify(built.path).is_sound


def test_orphans_are_cleared_and_what_is_staged_stays(build: Callable) -> None:
    built = build(published=2)
    orphan = built.leave_orphan()
    leftover = built.write(f"{built.layout.staged}/000001-sealed-{'a' * 32}.parquet", b"x")
    waiting = built.write(f"{built.layout.staged}/000002-000000-000001-{'b' * 32}.arrow", b"x")
    foreign = built.write(f"{built.layout.staging}/notes", b"mine")
    recovery = recover(built.path)
    assert kinds(recovery) == [RecoveryVerb.DELETE_ORPHAN] * 2
    assert [orphan.exists(), leftover.exists(), waiting.exists(), foreign.exists()] == [
        False,
        False,
        True,
        True,
    ]
    assert recovery.diagnosis.state == "INTERRUPTED"


def test_a_dry_run_changes_nothing(build: Callable) -> None:
    built = build(published=2)
    built.commit(1).unlink()
    built.leave_orphan()
    before = built.files()
    recovery = recover(built.path, dry_run=True)
    assert kinds(recovery) == [RecoveryVerb.REBUILD_RECORD, RecoveryVerb.DELETE_ORPHAN]
    assert built.files() == before


def test_a_lost_part_needs_a_word(build: Callable) -> None:
    built = build()
    built.part(1).unlink()
    before = built.files()
    with pytest.raises(InconsistentError) as caught:
        recover(built.path)
    assert caught.value.missing == ("clip_0004.mp4", "clip_0005.mp4", "clip_0007.mp4")
    assert "--recompute-missing" in caught.value.next
    assert built.files() == before


def test_a_lost_part_is_given_up_and_nothing_deleted(build: Callable) -> None:
    built = build()
    built.part(1).unlink()
    before = built.files()
    recovery = recover(built.path, recompute=True)
    assert recovery.diagnosis.state == "INTERRUPTED"
    assert recovery.diagnosis.items.pending == 4
    assert not built.file(built.layout.complete).exists()
    assert built.file(built.layout.recomputed(1)).read_bytes() == before[built.layout.commit(1)]
    assert sorted(before.values()) == sorted(built.files().values())
    assert recover(built.path, recompute=True).steps == ()


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("with_record", [True, False])
def test_a_damaged_part_is_set_aside(build: Callable, is_complete: bool, with_record: bool) -> None:
    built = build(is_complete=is_complete)
    damaged = bytearray(built.part(0).read_bytes())
    damaged[-10 if not with_record else 8] ^= 0xFF
    if not with_record:
        built.commit(0).unlink()
        damaged[-1] = 0
    built.part(0).write_bytes(damaged)
    recovery = recover(built.path, recompute=True)
    assert recovery.diagnosis.state == "INTERRUPTED"
    kept = [path.read_bytes() for path in built.file(built.layout.set_aside).iterdir()]
    assert bytes(damaged) in kept
    assert built.file(built.layout.recomputed(0)).exists()
    assert verify(built.path).is_sound


def test_a_hole_without_a_record_is_given_up(build: Callable) -> None:
    built = build(is_complete=False)
    built.part(1).unlink()
    built.commit(1).unlink()
    recovery = recover(built.path, recompute=True)
    assert recovery.diagnosis.state == "INTERRUPTED"
    json.loads(built.file(built.layout.recomputed(1)).read_bytes())


def test_an_unreadable_record_is_made_anew_from_its_part(build: Callable) -> None:
    built = build()
    built.commit(1).write_bytes(b"[]")
    with pytest.raises(CorruptError):
        recover(built.path)
    recovery = recover(built.path, recompute=True)
    assert kinds(recovery) == [RecoveryVerb.SET_ASIDE, RecoveryVerb.REBUILD_RECORD]
    assert (recovery.diagnosis.state, verify(built.path).is_sound) == ("COMPLETE", True)


def test_an_unreadable_complete_is_set_aside(build: Callable) -> None:
    built = build()
    built.file(built.layout.complete).write_bytes(b"")
    assert diagnose(built.path).state == "CORRUPT"
    assert recover(built.path, recompute=True).diagnosis.state == "INTERRUPTED"


@pytest.mark.parametrize("name", ["dataset.json", "plan/000000.json", "schema.json"])
def test_what_says_what_there_is_to_do_can_only_be_restored(build: Callable, name: str) -> None:
    built = build()
    path = built.root / "features.batten" / name
    path.write_bytes(b"")
    before = built.files()
    with pytest.raises(InconsistentError) as caught:
        recover(built.path, recompute=True)
    assert name in str(caught.value)
    assert "restore" in caught.value.next
    assert built.files() == before


def test_a_batch_whose_quarantined_items_are_being_retried_is_left_alone(build: Callable) -> None:
    built = build(is_complete=False)
    built.commit(1).rename(built.file(built.layout.recomputed(1)))
    staged = built.write(f"{built.layout.staged}/000001-000000-000002-{'a' * 32}.arrow", b"x")
    assert recover(built.path).steps == ()
    assert (staged.exists(), diagnose(built.path).state) == (True, "INTERRUPTED")


def test_a_staged_copy_of_a_damaged_part_is_kept(build: Callable) -> None:
    built = build()
    copy = built.write(
        f"{built.layout.staged}/000001-sealed-{'a' * 32}.parquet", built.part(1).read_bytes()
    )
    built.part(1).write_bytes(b"")
    recover(built.path, recompute=True)
    assert copy.exists()


def damage_much(built) -> None:  # type: ignore[no-untyped-def]
    built.part(0).write_bytes(b"nothing of a part")
    built.part(1).unlink()
    built.commit(2).write_bytes(b"null")
    built.leave_orphan()


def test_a_recovery_that_is_killed_between_any_two_steps_is_finished_by_the_next(
    build: Callable, tmp_path: Path
) -> None:
    built = build()
    damage_much(built)
    place = locate_output(built.path)
    observation = observe_output(place.storage, place.layout, is_thorough=True)
    judgement = judge(observation)
    findings = find_faults(place.storage, observation, judgement)
    steps = decide_steps(observation, findings, judgement.orphans)
    assert len(steps) == 8
    evidence = {data for name, data in built.files().items() if "/staging/" not in name}
    saved = tmp_path / "saved"
    shutil.copytree(built.root, saved, ignore=shutil.ignore_patterns("saved"))
    for count in range(len(steps) + 1):
        root = tmp_path / f"killed-{count}"
        shutil.copytree(saved, root)
        here = locate_output(root / "features")
        apply_steps(here.storage, here.layout, steps[:count], now=datetime(2026, 1, 1, tzinfo=UTC))
        state = diagnose(root / "features").state
        assert state != "COMPLETE" or count == len(steps)
        recovery = recover(root / "features", recompute=True)
        assert recovery.diagnosis.state == "INTERRUPTED"
        assert verify(root / "features").is_sound
        found = {path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert evidence <= found


def test_recover_refuses_what_is_not_battens_and_what_is_in_use(
    build: Callable, tmp_path: Path
) -> None:
    assert recover(tmp_path / "nothing").steps == ()
    assert list(tmp_path.iterdir()) == []
    built = build()
    with LocalStorage(built.root).lock(built.layout.lock, current_holder()):
        with pytest.raises(BusyError):
            recover(built.path)
        with pytest.raises(BusyError):
            recover(built.path, dry_run=True)
        with pytest.raises(BusyError):
            clean_output(locate_output(built.path), older_than_seconds=0, is_dry_run=False)
    shutil.rmtree(built.root / built.layout.control)
    with pytest.raises(RefusedError):
        recover(built.path)


def test_clean_removes_orphans_and_nothing_else(build: Callable) -> None:
    built = build()
    before = built.files()
    built.leave_orphan()
    place = locate_output(built.path)
    young = clean_output(place, older_than_seconds=3600, is_dry_run=False)
    assert (len(young.removed), young.kept) == (0, 1)
    told = clean_output(place, older_than_seconds=0, is_dry_run=True)
    assert (len(told.removed), diagnose(built.path).state) == (1, "COMPLETE_WITH_ORPHANS")
    done = clean_output(place, older_than_seconds=0, is_dry_run=False)
    assert (len(done.removed), done.kept) == (1, 0)
    assert built.files() == before


def test_clean_keeps_all_where_there_is_damage(build: Callable) -> None:
    built = build()
    orphan = built.leave_orphan()
    built.part(1).unlink()
    clean_output(locate_output(built.path), older_than_seconds=0, is_dry_run=False)
    assert orphan.exists()


def test_show_tells_of_quarantined_items_and_runs(build: Callable) -> None:
    built = build()
    overview = show(built.path)
    assert [(item.key, item.batch, item.item) for item in overview.quarantined] == [
        ("clip_0006.mp4", 1, 2)
    ]
    assert overview.quarantined[0].error == "ValueError: no video stream"
    assert [run.stop and run.stop["status"] for run in overview.runs] == ["complete"]
    built.file(built.layout.quarantined(1)).write_bytes(b"PAR1")
    assert show(built.path).unreadable == (str(built.file(built.layout.quarantined(1))),)
