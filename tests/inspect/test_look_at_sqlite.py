"""A database of SQLite is looked at as it is for its readers, whatever lies beside it; and the look
changes nothing, waits for nobody, and ends."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import batten
from batten.inspect.verifying.verify import verify
from batten.lookup import look_at_sqlite

HOLD = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
for query in sys.argv[2:]:
    base.execute(query).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    made = batten.from_range(9).map(lambda n: {"square": n * n}, version="1")
    made.options(batch_size=3).write_sqlite(path, "rows").run(executor="serial")
    return path


@contextmanager
def held(base: Path, *queries: str, is_killed: bool = True) -> Iterator[None]:
    """Another program that has done so much, and is killed in the end."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(base), *queries],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == b"held\n"
        yield
    finally:
        if is_killed:
            program.kill()
        program.stdin.close()
        program.wait()
        program.stdout.close()


def ask(base: Path, *queries: str) -> None:
    with closing(sqlite3.connect(base, isolation_level=None)) as opened:
        for query in queries:
            opened.execute(query).fetchall()


def list_files(folder: Path) -> list[tuple[str, str, int, int]]:
    """Of what lies beside the database: name, digest, time and links."""
    found = []
    for path in sorted(folder.iterdir()):
        about = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found.append((path.name, digest, about.st_mtime_ns, about.st_nlink))
    return found


SOUND, LACKING, UNTOLD = "sound", "lacking", "untold"


def check(base: Path, wanted: str) -> str:
    """What is told of it; nothing of the folder changes by that."""
    before = list_files(base.parent)
    found, read = batten.diagnose(base), verify(base)
    assert list_files(base.parent) == before
    told = ""
    for diagnosis, is_sound in ((found, found.exit_code == 0), (read.diagnosis, read.is_sound)):
        told = next(iter(diagnosis.unseen.values()), "")
        assert is_sound is (wanted != LACKING), diagnosis
        assert told.startswith("can't be looked at: ") is (wanted == UNTOLD), told
    return found.reason if wanted == LACKING else told


WAL = "PRAGMA journal_mode = WAL"
LOSE = "DELETE FROM rows WHERE key < 2"


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(("change", "wanted"), [(LOSE, LACKING), ("VACUUM", SOUND)])
def test_what_is_in_the_log_of_another_program_counts(
    change: str, wanted: str, is_shared: bool, base: Path
) -> None:
    with held(base, WAL, change):
        assert base.with_name("out-wal").stat().st_size
        if not is_shared:
            base.with_name("out-shm").unlink()
        told = check(base, wanted)
        assert wanted != LACKING or "it has 7 rows" in told


def test_what_a_killed_program_left_in_its_log_counts(base: Path) -> None:
    with held(base, WAL, LOSE):
        pass
    assert base.with_name("out-wal").stat().st_size
    assert "it has 7 rows" in check(base, LACKING)


def test_what_is_not_committed_does_not_count(base: Path) -> None:
    with held(base, WAL, "PRAGMA cache_size = 1", "BEGIN IMMEDIATE", LOSE):
        check(base, SOUND)


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST", "TRUNCATE"])
def test_a_transaction_that_was_cut_off_is_undone_for_the_look_alone(mode: str, base: Path) -> None:
    with closing(sqlite3.connect(base)) as opened, opened:
        opened.execute("CREATE TABLE others (text)")
        opened.executemany("INSERT INTO others VALUES (?)", [("x" * 900,)] * 400)
    write = "UPDATE others SET text = text || 'y'"
    spilling = ("PRAGMA cache_size = 2", "BEGIN IMMEDIATE", LOSE, write)
    with held(base, f"PRAGMA journal_mode = {mode}", *spilling):
        check(base, SOUND)
    assert base.with_name("out-journal").stat().st_size
    check(base, SOUND)


@pytest.mark.parametrize("mode", ["PERSIST", "TRUNCATE"])
def test_a_journal_that_is_kept_for_the_next_is_no_matter(mode: str, base: Path) -> None:
    ask(base, f"PRAGMA journal_mode = {mode}", LOSE)
    assert base.with_name("out-journal").exists()
    assert "it has 7 rows" in check(base, LACKING)


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_lock_of_another_is_not_waited_for(lock: str, base: Path) -> None:
    with held(base, f"BEGIN {lock}"):
        check(base, SOUND)
    with held(base, WAL, "PRAGMA locking_mode = EXCLUSIVE", f"BEGIN {lock}", LOSE, "COMMIT"):
        assert not base.with_name("out-shm").exists()
        check(base, LACKING)


def test_a_lock_of_this_very_process_is_kept(base: Path) -> None:
    """The kernel drops it, once any descriptor of the file is closed by its process."""
    with closing(sqlite3.connect(base, isolation_level=None)) as opened:
        opened.execute("BEGIN IMMEDIATE")
        assert "this process" in batten.diagnose(base).unseen["table rows of out"]
        assert "this process" in verify(base).diagnosis.unseen["table rows of out"]
        with pytest.raises(AssertionError), held(base, "PRAGMA busy_timeout = 0", LOSE):
            pass
        opened.execute("ROLLBACK")
    check(base, SOUND)


@pytest.mark.parametrize("name", ["out-wal", "out-journal"])
def test_what_is_no_file_beside_it_is_told(name: str, base: Path) -> None:
    os.mkfifo(base.with_name(name))
    assert f"{name} is no file" in check(base, UNTOLD)
    base.with_name(name).unlink()
    base.with_name(name).mkdir()
    assert f"{name} is no file" in check(base, UNTOLD)


def test_a_link_is_followed_and_what_lies_beside_its_end_counts(base: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    base.rename(elsewhere / "real")
    base.symlink_to(elsewhere / "real")
    check(base, SOUND)
    with held(elsewhere / "real", WAL, LOSE):
        check(base, LACKING)


def test_what_is_too_large_to_be_copied_is_told(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_at_sqlite, "COPIED_BYTES_MAX", 100)
    monkeypatch.setattr(look_at_sqlite, "COUNTED_BYTES_MAX", 100)
    with held(base, WAL, LOSE):
        assert "too large to be copied" in check(base, UNTOLD)
    ask(base, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert "only verify counts its rows" in batten.diagnose(base).unseen["table rows of out"]
    assert not verify(base).is_sound


def test_a_huge_log_is_not_read(base: Path) -> None:
    with base.with_name("out-wal").open("wb") as file:
        file.write(b"\x37\x7f\x06\x82")
        file.truncate(20 << 30)
    assert "too large" in batten.diagnose(base).unseen["table rows of out"]
    assert "too large" in verify(base).diagnosis.unseen["table rows of out"]


def test_a_view_without_end_is_given_up(base: Path) -> None:
    ask(
        base,
        "DROP TABLE rows",
        "CREATE VIEW rows AS WITH RECURSIVE n(key) AS "
        "(SELECT 1 UNION ALL SELECT key + 1 FROM n) SELECT key FROM n",
    )
    found = batten.diagnose(base)
    assert found.state == "COMPLETE"
    assert "interrupted" in found.unseen["table rows of out"]


def test_what_this_sqlite_can_not_do_is_no_damage(base: Path) -> None:
    with closing(sqlite3.connect(base, isolation_level=None)) as opened:
        opened.create_function("theirs", 1, lambda value: value, deterministic=True)
        opened.execute("ALTER TABLE rows RENAME TO more")
        opened.execute("CREATE VIEW rows AS SELECT * FROM more WHERE theirs(key) >= 0")
    assert "no such function" in check(base, UNTOLD)


def test_a_log_of_another_database_is_not_taken_in(base: Path) -> None:
    """Its frames are not of this one: SQLite finds that by their salt, or the database damaged."""
    base.with_name("out-wal").write_bytes(b"no log at all" * 500)
    check(base, SOUND)


def test_a_folder_that_may_not_be_written_is_looked_at(base: Path) -> None:
    with held(base, WAL, LOSE):
        base.parent.chmod(0o555)
        try:
            assert "it has 7 rows" in check(base, LACKING)
        finally:
            base.parent.chmod(0o755)


def test_a_copy_that_can_not_be_made_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(base, WAL, LOSE):
        monkeypatch.setattr(tempfile, "tempdir", str(base.parent / "nowhere"))
        assert "can't be copied" in check(base, UNTOLD)
