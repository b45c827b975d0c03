"""Every way to damage one file of a finished output is named by `verify`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.cli.text.verification_text import list_lines
from batten.errors import BusyError, RefusedError, UsageError
from batten.inspect.diagnose import diagnose
from batten.inspect.verifying.verify import verify
from batten.model.rules.findings import Code
from batten.model.words import State
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -max(1, path.stat().st_size // 3)])


def cut_by_one(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def exchange_for_list(path: Path) -> None:
    path.write_bytes(b"[]\n")


def exchange_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [
    remove,
    empty,
    cut,
    cut_by_one,
    extend,
    zero,
    flip_in_the_middle,
    exchange_for_list,
    exchange_for_folder,
]

FILES = [
    "features/part-000000.parquet",
    "features/part-000001.parquet",
    "features/part-000002.parquet",
    "features.batten/dataset.json",
    "features.batten/schema.json",
    "features.batten/plan/000000.json",
    "features.batten/plan/000000.arrow",
    "features.batten/quarantine/000001.parquet",
    "features.batten/commits/000000.json",
    "features.batten/commits/000002.json",
    "features.batten/COMPLETE",
]


@pytest.mark.parametrize("is_keyed", [True, False])
@pytest.mark.parametrize("is_quick", [True, False])
def test_an_undamaged_output_is_sound(build: Callable, is_keyed: bool, is_quick: bool) -> None:
    found = verify(build(is_keyed=is_keyed).path, is_quick=is_quick)
    assert (found.is_sound, found.findings, found.parts) == (True, (), 3)


def test_an_unfinished_output_is_sound(build: Callable) -> None:
    built = build(published=1)
    built.publish(1, with_record=False)
    assert verify(built.path).is_sound


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", FILES)
def test_each_damage_is_named(build: Callable, name: str, damage: Callable) -> None:
    built = build()
    path = built.root / name
    damage(path)
    if name.endswith("COMPLETE") and damage is remove:
        assert diagnose(built.path).state == "INTERRUPTED"
        return
    found = verify(built.path)
    named = {finding.path for finding in found.findings}
    evidence = " ".join(finding.evidence for finding in found.findings)
    assert str(path) in named or name in evidence, found.findings
    assert not found.is_sound
    assert not any(finding.evidence.endswith((".", "?")) for finding in found.findings)


@pytest.mark.parametrize("name", FILES)
def test_a_flip_of_any_byte_is_seen(build: Callable, name: str) -> None:
    built = build()
    path = built.root / name
    whole = path.read_bytes()
    unseen = []
    for place in range(0, len(whole), max(1, len(whole) // 15)):
        data = bytearray(whole)
        data[place] ^= 0x01
        path.write_bytes(data)
        if verify(built.path).is_sound:
            unseen.append(place)
    assert unseen == []


def test_a_damaged_log_is_named_and_no_damage(build: Callable) -> None:
    built = build()
    log = next(built.file(built.layout.runs).iterdir())
    with open(log, "ab") as file:
        file.write(b'{"event": "st')
    found = verify(built.path)
    assert found.is_sound
    assert [finding.code for finding in found.findings] == [Code.DAMAGED_LOG]


def test_a_damaged_staged_file_is_named(build: Callable) -> None:
    built = build(published=2)
    built.write(f"{built.layout.staged}/000002-000000-000001-{'0' * 32}.arrow", b"torn")
    assert [finding.code for finding in verify(built.path).findings] == [Code.STAGED_DAMAGED]


def test_a_part_with_the_rows_of_another_batch(build: Callable) -> None:
    """Counts, sizes, digests and footers agree; only the keys tell."""
    built = build(published=0, quarantined=frozenset(), filtered=frozenset())
    honest, described = built.key, built.describe(0)
    built.describe = lambda batch: described  # type: ignore[method-assign]
    built.key = lambda item: honest(item + 4)  # type: ignore[method-assign]
    built.publish(0)
    found = verify(built.path)
    assert [finding.code for finding in found.findings] == [Code.KEYS_DIFFER]
    assert "clip_0000.mp4" in found.findings[0].evidence


def test_the_command_that_mends_names_the_output(build: Callable) -> None:
    built = build()
    flip_in_the_middle(built.part(0))
    lines = list(list_lines(verify(built.path)))
    assert lines[-1].endswith(f"or: batten recover --recompute-missing {built.path}")


def test_quick_reads_no_rows(build: Callable) -> None:
    built = build()
    part = built.part(0)
    data = bytearray(part.read_bytes())
    data[8] ^= 0xFF
    part.write_bytes(data)
    assert verify(built.path, is_quick=True).is_sound
    assert not verify(built.path).is_sound


def test_what_cannot_be_verified_is_refused(build: Callable, tmp_path: Path) -> None:
    built = build()
    with pytest.raises(UsageError):
        verify(tmp_path / "nothing")
    built.write(built.layout.replacing, b"")
    with (
        LocalStorage(built.root).lock(built.layout.lock, current_holder()),
        pytest.raises(BusyError),
    ):
        verify(built.path)
    (built.root / built.layout.replacing).unlink()
    shutil.rmtree(built.root / built.layout.control)
    with pytest.raises(RefusedError):
        verify(built.path)


def test_what_is_published_while_a_run_is_at_work(build: Callable) -> None:
    """The same of a tree in which the run has more to do."""
    built = build(published=2)
    with LocalStorage(built.root).lock(built.layout.lock, current_holder()):
        found = verify(built.path)
        assert (found.is_sound, found.parts, found.diagnosis.state) == (True, 2, State.RUNNING)
        part = built.part(1)
        data = bytearray(part.read_bytes())
        data[8] ^= 0xFF
        part.write_bytes(data)
        assert [each.code for each in verify(built.path).damage] == [Code.DIGEST_DIFFERS]
        assert verify(built.path, is_quick=True).is_sound
        part.unlink()
        assert [each.code for each in verify(built.path).damage] == [Code.LOST_PART]


BUSY_JOB = """
import os
import batten

def work(number):
    if number % 7 == 3 and os.environ.get("FAILS"):
        raise ValueError(number)
    return {"number": number}

pipeline = batten.from_range(240).map(work).options(batch_size=2).write_parquet("out")
"""


@pytest.mark.parametrize(
    ("before", "words"),
    [(False, []), (True, ["--retry-quarantined"]), (True, ["--fresh"])],
)
def test_nothing_is_called_damaged_that_a_run_is_about_to_change(
    tmp_path: Path, before: bool, words: list[str]
) -> None:
    (tmp_path / "job.py").write_text(BUSY_JOB)
    line = [sys.executable, "-m", "batten", "run", "job.py", "--quiet", "--jobs", "2"]
    if before:
        subprocess.run(line, cwd=tmp_path, env=os.environ | {"FAILS": "1"}, check=False)
    run = subprocess.Popen([*line, *words], cwd=tmp_path)
    while run.poll() is None:
        try:
            found = verify(tmp_path / "out")
        except (UsageError, BusyError):
            continue
        assert found.damage == [], found.findings
    assert run.returncode == 0
    assert verify(tmp_path / "out").is_sound


@pytest.mark.parametrize("is_quick", [True, False])
def test_columns_of_a_newer_batten_are_not_called_damaged(build: Callable, is_quick: bool) -> None:
    built = build()
    path = built.file(built.layout.schema)
    path.write_bytes(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 99'))
    found = verify(built.path, is_quick=is_quick)
    assert [finding.code for finding in found.findings] == [Code.NEWER_FORMAT]
    assert "use the newer batten" in found.next
