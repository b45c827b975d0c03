"""The state of an output, whatever was done to it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from batten.cli.main import main
from batten.cli.text.verification_text import list_lines
from batten.errors import InconsistentError
from batten.inspect.diagnose import diagnose
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import recover_output
from batten.inspect.verifying.verify import verify
from batten.model.disk.records import (
    CommitRecord,
    decode_record,
    encode_record,
    open_record,
    seal_record,
)
from batten.model.rules.findings import Code
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder

Build = Callable[..., "Built"]  # type: ignore[name-defined]  # noqa: F821
WithoutPermission = Callable[[Path], AbstractContextManager[None]]


def codes(diagnosis: Diagnosis) -> set[Code]:
    return {finding.code for finding in diagnosis.findings}


def test_nothing_is_new(tmp_path: Path) -> None:
    found = diagnose(tmp_path / "features")
    assert (found.state, found.action, found.exit_code) == ("NEW", "run", 10)


def test_an_empty_folder_is_new(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    assert diagnose(tmp_path / "features").state == "NEW"


@pytest.mark.parametrize("name", ["absent", "empty", "filled"])
def test_a_link_is_not_new_since_a_run_refuses_it(tmp_path: Path, name: str) -> None:
    for folder in ("empty", "filled"):
        (tmp_path / folder).mkdir()
    (tmp_path / "filled" / "note").write_text("a note")
    (tmp_path / "features").symlink_to(name)
    found = diagnose(tmp_path / "features")
    assert (found.state, found.action, found.exit_code) == ("UNKNOWN", "look", 5)
    assert codes(found) == {Code.LINKED_FOLDER}
    real = os.path.realpath(tmp_path / name)
    assert f"a symbolic link, which parts can't be kept in; it leads to {real}" in found.reason
    assert found.next == f"name that folder: {shlex.join(('batten', 'diagnose', real))}"


def test_a_finished_output_is_complete(build: Build) -> None:
    found = diagnose(build().path)
    assert (found.state, found.action, found.exit_code) == ("COMPLETE", "nothing", 0)
    assert vars(found.items) == {
        "source": 10,
        "committed": 8,
        "filtered": 1,
        "quarantined": 1,
        "duplicate": 0,
        "staged": 0,
        "pending": 0,
        "removed": 0,
        "adopted": 0,
    }
    assert (found.parts, found.rows, found.findings) == (3, 8, ())


def test_a_finished_output_without_quarantine_is_vouched_for_by_complete(build: Build) -> None:
    built = build(quarantined=frozenset(), duplicates=2, is_keyed=False)
    shutil.rmtree(built.root / built.layout.commits)
    found = diagnose(built.path)
    assert found.state == "COMPLETE"
    assert (found.items.source, found.items.committed, found.items.duplicate) == (12, 9, 2)
    assert found.rows == 9


@pytest.mark.parametrize("is_keyed", [True, False])
def test_an_unfinished_output_is_interrupted(build: Build, is_keyed: bool) -> None:
    built = build(published=2, is_keyed=is_keyed)
    built.write(f"{built.layout.staged}/000002-000000-000001-{'0' * 32}.arrow", b"")
    built.leave_orphan()
    found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("INTERRUPTED", "run", 10)
    assert found.next == f"cd {built.root} && batten run features.py"
    assert (found.items.committed, found.items.staged, found.items.pending) == (6, 1, 1)
    assert [orphan.owner for orphan in found.orphans] == ["host-91247"]
    assert "9 finished items would be computed again" in found.risky
    assert found.hints[:2] == (
        "the last run was killed: no stop was logged",
        "the machine has restarted since",
    )


def test_a_sealed_batch_counts_whole_and_overlapping_chunks_once(build: Build) -> None:
    built = build(published=0)
    for name in (
        f"000000-000000-000003-{'a' * 32}.arrow",
        f"000000-000002-000009-{'b' * 32}.arrow",
        f"000001-sealed-{'c' * 32}.parquet",
        f"000001-quarantine-{'d' * 32}.parquet",
    ):
        built.write(f"{built.layout.staged}/{name}", b"")
    assert diagnose(built.path).items.staged == 8


def test_a_part_without_a_record_is_counted_by_its_footer(build: Build) -> None:
    built = build(published=1)
    built.publish(1, with_record=False)
    found = diagnose(built.path)
    assert found.state == "INTERRUPTED"
    assert (found.items.committed, found.rows) == (6, 6)
    assert codes(found) == {Code.MISSING_RECORD}


def test_everything_published_but_not_closed_is_interrupted(build: Build) -> None:
    found = diagnose(build(is_complete=False).path)
    assert (found.state, found.items.pending) == ("INTERRUPTED", 0)


def test_a_fresh_dataset_that_was_begun_is_told(build: Build) -> None:
    built = build()
    assert diagnose(built.path).hints == ()
    built.write(built.layout.fresh.config, built.file(built.layout.config).read_bytes())
    found = diagnose(built.path)
    assert (found.state, found.action) == ("COMPLETE", "nothing")
    assert [hint for hint in found.hints if "&& batten run features.py --fresh goes on" in hint]


def test_orphans_of_a_finished_output(build: Build) -> None:
    built = build()
    built.leave_orphan()
    built.write(f"{built.layout.staged}/000001-000000-000002-{'0' * 32}.arrow", b"leftover")
    found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("COMPLETE_WITH_ORPHANS", "clean", 11)
    assert sorted(orphan.bytes for orphan in found.orphans) == [8, 11]


def test_a_held_lock_is_running_whatever_else_is_seen(build: Build) -> None:
    built = build(published=2)
    built.part(0).unlink()
    built.leave_orphan()
    with LocalStorage(built.root).lock(built.layout.lock, current_holder()):
        found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("RUNNING", "leave alone", 0)
    assert found.orphans == ()
    document = found.to_json()
    assert document["holder"]["pid"] == os.getpid()
    assert set(document["holder"]) == {"pid", "host", "since"}


def test_a_folder_in_the_place_of_the_lock_is_to_be_moved_away(build: Build) -> None:
    built = build()
    built.file(built.layout.lock).unlink()
    built.file(built.layout.lock).mkdir()
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("CORRUPT", {Code.UNREADABLE_FILE})
    assert "folder" not in found.findings[0].safe_action
    built.file(built.layout.lock).rmdir()
    assert diagnose(built.path).state == "COMPLETE"


def test_a_lost_part_is_inconsistent_and_missing(build: Build) -> None:
    built = build()
    built.part(1).unlink()
    found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("INCONSISTENT", "stop", 4)
    assert found.missing == ("clip_0004.mp4", "clip_0005.mp4", "clip_0007.mp4")
    assert str(built.part(1)) in {finding.path for finding in found.findings}
    assert found.next == f"batten recover --recompute-missing {built.path}"


def test_the_last_part_lost_is_inconsistent(build: Build) -> None:
    built = build(published=2)
    built.part(1).unlink()
    assert diagnose(built.path).state == "INCONSISTENT"


def test_a_hole_is_inconsistent(build: Build) -> None:
    built = build(is_complete=False)
    built.part(1).unlink()
    built.commit(1).unlink()
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.HOLE})
    assert found.missing == tuple(f"clip_{item:04}.mp4" for item in range(4, 8))


def test_parts_that_appeared_before_their_turn_are_not_published(build: Build) -> None:
    """What a power cut may leave of three that were being published together."""
    built = build(published=0)
    for batch in (0, 1, 2):
        built.publish(batch, with_record=False)
    built.part(0).unlink()
    found = diagnose(built.path)
    assert (found.state, codes(found), found.parts) == ("INTERRUPTED", {Code.EARLY_PART}, 0)
    assert (found.items.committed, found.items.pending) == (0, 10)
    built.publish(0)
    assert diagnose(built.path).parts == 3


def test_a_part_that_was_given_up_is_pending(build: Build) -> None:
    built = build(is_complete=False)
    built.part(1).unlink()
    built.commit(1).rename(built.file(built.layout.recomputed(1)))
    found = diagnose(built.path)
    assert (found.state, found.items.pending) == ("INTERRUPTED", 4)


def test_a_part_that_was_given_up_computed_again_and_lost_again_is_lost(build: Build) -> None:
    built = build(is_complete=False)
    built.write(built.layout.recomputed(1), b"{}\n")
    assert diagnose(built.path).state == "INTERRUPTED"
    built.part(1).unlink()
    assert diagnose(built.path).state == "INCONSISTENT"


def test_a_lost_quarantine_file_is_inconsistent(build: Build) -> None:
    built = build()
    built.file(built.layout.quarantined(1)).unlink()
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.LOST_QUARANTINE})


def test_a_part_of_another_job_is_inconsistent(build: Build) -> None:
    built = build(published=2)
    shutil.copy(built.part(0), built.part(1))
    built.commit(1).unlink()
    found = diagnose(built.path)
    assert found.state == "INCONSISTENT"
    assert Code.ACCOUNTS_DIFFER in codes(found)


def test_a_record_whose_counts_do_not_add_up(build: Build) -> None:
    built = build(is_complete=False)
    record = decode_record(CommitRecord, built.commit(0).read_bytes())
    forged = CommitRecord(**{**vars(record), "outcomes": "4c"})
    built.commit(0).write_bytes(encode_record(forged))
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.ACCOUNTS_DIFFER})


def test_a_part_beyond_the_plan_is_inconsistent(build: Build) -> None:
    built = build()
    shutil.copy(built.part(0), built.part(99))
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.BEYOND_PLAN})


def test_an_empty_part_beyond_the_plan_is_to_be_moved_away(build: Build) -> None:
    built = build()
    built.part(9).touch()
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.BEYOND_PLAN})
    assert found.next.startswith(f"{built.part(9)}: move the file away")
    assert list(list_lines(verify(built.path)))[-1].endswith(found.next)
    with pytest.raises(InconsistentError) as caught:
        recover_output(locate_output(built.path), should_recompute=True, is_dry_run=False)
    assert found.next in caught.value.next
    built.part(9).rename(built.root / "elsewhere")
    assert diagnose(built.path).state == "COMPLETE"


@pytest.mark.parametrize("name", ["dataset.json", "plan/000000.json"])
def test_what_says_what_there_is_to_do_is_restored_or_all_done_anew(
    build: Build, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build()
    path = built.root / "features.batten" / name
    path.unlink()
    found = diagnose(built.path)
    assert found.next == (
        f"{path}: restore it from a copy, or run the job with --fresh: all is computed anew"
    )
    assert main(["diagnose", str(built.path)]) == 4
    assert "recover can't mend it" in capsys.readouterr().out.splitlines()[2]


def test_complete_that_knows_less_than_is_there(build: Build) -> None:
    built = build(quarantined=frozenset())
    old = open_record(built.file(built.layout.complete).read_bytes())
    forged = old.replace(b'"committed": 9', b'"committed": 8')
    built.write(built.layout.complete, seal_record(forged))
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.COMPLETE_DISAGREES})


def test_a_foreign_file_among_the_parts_is_a_warning(build: Build) -> None:
    built = build()
    (built.path / "notes.txt").write_text("mine")
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("COMPLETE", {Code.FOREIGN_FILE})
    (built.path / "part-0000001.parquet").write_text("seven digits")
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("INCONSISTENT", {Code.FOREIGN_FILE, Code.STRAY_FILE})


def test_a_file_in_place_of_the_output(tmp_path: Path, build: Build) -> None:
    (tmp_path / "plain").write_text("a file")
    assert diagnose(tmp_path / "plain").state == "UNKNOWN"
    built = build()
    shutil.rmtree(built.path)
    built.path.write_text("a file")
    assert diagnose(built.path).exit_code == 5


def test_a_control_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "features.batten").write_text("a file")
    assert diagnose(tmp_path / "features").state == "UNKNOWN"


def test_files_without_a_control_folder_are_not_battens(build: Build) -> None:
    built = build()
    shutil.rmtree(built.root / built.layout.control)
    found = diagnose(built.path)
    assert (found.state, found.action, found.exit_code) == ("UNKNOWN", "look", 5)


@pytest.mark.parametrize("name", ["dataset.json", "plan/000000.json", "commits/000001.json"])
def test_a_newer_format_is_unknown(build: Build, name: str) -> None:
    path = build().root / "features.batten" / name
    path.write_bytes(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 99'))
    assert diagnose(path.parents[name.count("/")].with_suffix("")).state == "UNKNOWN"


def test_a_lost_configuration_is_never_taken_for_a_new_output(build: Build) -> None:
    built = build()
    built.file(built.layout.config).unlink()
    found = diagnose(built.path)
    assert (found.state, codes(found)) == ("CORRUPT", {Code.MISSING_CONFIG})


def test_a_run_that_was_killed_at_its_very_beginning(tmp_path: Path) -> None:
    (tmp_path / "features.batten" / "staging").mkdir(parents=True)
    found = diagnose(tmp_path / "features")
    assert (found.state, found.exit_code, found.risky) == ("INTERRUPTED", 10, "nothing")


@pytest.mark.parametrize("suffix", ["", "/", ".batten", ".batten/"])
def test_the_path_may_be_given_in_several_ways(
    build: Build, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(build().root)
    found = diagnose("features" + suffix)
    assert (found.state, found.path) == ("COMPLETE", "features")


def test_the_json_is_exactly_that_of_the_contract(build: Build) -> None:
    document = json.loads(json.dumps(diagnose(build().path).to_json()))
    assert list(document) == [
        "state",
        "path",
        "action",
        "next",
        "risky",
        "reason",
        "items",
        "parts",
        "rows",
        "usage",
        "submitted",
        "orphans",
        "holder",
        "workers",
        "hints",
        "missing",
        "parameters",
        "readers",
        "inputs",
        "again",
        "findings",
        "destinations",
        "retry",
        "ways",
    ]
    assert document["holder"] is None


GARBAGE = {
    "empty": b"",
    "torn": None,
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "text": b'"text"',
    "object": b"{}",
    "not UTF-8": b"\xff\xfe\x00",
    "zeros": bytes(64),
    "deep": b"[" * 100_000,
    "wrong types": b'{"format_version": 1, "batch": "0", "items": null, "number": []}',
    "huge": b'{"format_version": 1e999}',
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("dataset.json", {"CORRUPT"}),
        ("plan/000000.json", {"CORRUPT"}),
        ("commits/000001.json", {"CORRUPT"}),
        ("COMPLETE", {"CORRUPT"}),
        ("schema.json", {"COMPLETE"}),
        ("recompute/000001.json", {"COMPLETE"}),
        ("lock", {"COMPLETE"}),
        ("runs/20261121T080000Z-3f9a.jsonl", {"COMPLETE"}),
        ("runs/20261121T080000Z-3f9a.inflight", {"COMPLETE"}),
        ("quarantine/000001.parquet", {"COMPLETE"}),
    ],
)
def test_garbage_gives_a_state(build: Build, name: str, states: set[str], garbage: str) -> None:
    built = build()
    path = built.root / "features.batten" / name
    data = GARBAGE[garbage]
    path.write_bytes(path.read_bytes()[:-9] if data is None and path.exists() else data or b"")
    found = diagnose(built.path)
    assert found.state in states
    if found.state == "CORRUPT":
        assert str(path) in {finding.path for finding in found.findings}
        assert found.exit_code == 4


@pytest.mark.parametrize("garbage", ["empty", "torn", "zeros", "list"])
@pytest.mark.parametrize("with_record", [True, False])
def test_a_damaged_part_is_corrupt(build: Build, garbage: str, with_record: bool) -> None:
    built = build(is_complete=False)
    part = built.part(1)
    data = GARBAGE[garbage]
    part.write_bytes(part.read_bytes()[:-9] if data is None else data)
    if not with_record:
        built.commit(1).unlink()
    assert diagnose(built.path).state == "CORRUPT"


FOLDERS = ["plan", "staging", "staged", "quarantine", "commits", "recompute", "runs"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_in_place_of_a_folder_gives_a_state(build: Build, folder: str) -> None:
    built = build()
    path = built.root / "features.batten" / folder
    shutil.rmtree(path)
    path.write_text("a file")
    assert diagnose(built.path).state in ("CORRUPT", "COMPLETE")


@pytest.mark.parametrize(
    "name", ["dataset.json", "plan/000000.json", "commits/000001.json", "COMPLETE", "lock"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "link to itself"])
def test_something_else_in_place_of_a_file_gives_a_state(
    build: Build, name: str, kind: str
) -> None:
    built = build()
    path = built.root / "features.batten" / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else path.name)
    assert diagnose(built.path).state in {"CORRUPT", "INCONSISTENT"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "link to itself"])
def test_something_else_in_place_of_a_part_is_damage(build: Build, kind: str) -> None:
    built = build()
    part = built.part(1)
    part.unlink()
    if kind == "folder":
        part.mkdir()
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to("nowhere" if kind == "dangling link" else part.name)
    assert diagnose(built.path).exit_code == 4


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.crash)])
def test_very_many_orphans(build: Build, count: int) -> None:
    built = build()
    staging = built.root / built.layout.staging
    for number in range(count):
        os.mknod(staging / f"COMPLETE.host-1-{number:016x}")
    assert len(diagnose(built.path).orphans) == count


def test_a_number_without_end_in_the_plan(build: Build) -> None:
    built = build(published=1, is_keyed=False)
    path = built.file(built.layout.segment(0))
    forged = open_record(path.read_bytes()).replace(b'"items": 10', b'"items": 1' + b"0" * 30)
    path.write_bytes(seal_record(forged))
    assert diagnose(built.path).state == "CORRUPT"


@pytest.mark.parametrize(
    ("forbidden", "states"),
    [
        ("", {"UNKNOWN"}),
        ("features", {"CORRUPT"}),
        ("features.batten", {"UNKNOWN"}),
        *((f"features.batten/{folder}", {"CORRUPT", "COMPLETE"}) for folder in FOLDERS),
        ("features.batten/dataset.json", {"CORRUPT"}),
        ("features.batten/lock", {"CORRUPT"}),
        ("features.batten/COMPLETE", {"CORRUPT"}),
    ],
)
def test_without_permission_there_is_a_state(
    build: Build, forbidden: str, states: set[str], without_permission: WithoutPermission
) -> None:
    built = build()
    diagnose(built.path)  # imports what it needs while it may
    with without_permission(built.root / forbidden):
        found = diagnose(built.path)
    assert found.state in states
    assert found.exit_code in (4, 5) or found.state == "COMPLETE"
