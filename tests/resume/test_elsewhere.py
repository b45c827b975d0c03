"""The same job is the same job from another folder, at another path, by another user, in another
process with other hashes, and on another machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tracing import needs_tracing

from batten.inspect.verifying.verify import verify

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

JOB = """
    import dataclasses
    import enum

    class Kind(enum.Enum):
        ODD = 1
        EVEN = 2

    @dataclasses.dataclass(frozen=True)
    class Options:
        words: frozenset = frozenset({"one", "two", "three", "four", "five"})
        kinds: tuple = (Kind.ODD, Kind.EVEN)

    OPTIONS = Options()
    names = {kind: kind.name for kind in Kind}

    def make(options):
        def describe(path, words=frozenset("abcdefgh")):
            kind = Kind(1 + (int(path.stem) + 1) % 2)
            return {"kind": names[kind], "size": len(options.words | words)}
        return describe

    pipeline = (
        batten.from_files("items/*.txt").map(make(OPTIONS)).options(batch_size=2)
        .write_parquet("out")
    )
"""
"""What it captures has no order of its own."""


def prepare(folder: Path, items: int = 5) -> None:
    (folder / "items").mkdir(parents=True)
    for number in range(items):
        (folder / f"items/{number}.txt").write_text(f"item {number}")


def test_another_folder_another_path_and_other_hashes(job: Folder, tmp_path: Path) -> None:
    first = tmp_path / "first"
    prepare(first)
    job.path = first
    job.write(JOB)
    assert job.run(PYTHONHASHSEED="1").code == 0
    parts = job.parts()

    for place, spec in ((tmp_path, "first/job.py"), (Path("/"), str(first / "job.py"))):
        ended = job.run("--json", job=spec, cwd=place, PYTHONHASHSEED="2")
        assert ended.json["status"] == "nothing-to-do"

    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(first, moved)
    shutil.rmtree(first)
    job.path = moved
    ended = job.run("--json", PYTHONHASHSEED="3")
    assert ended.json["status"] == "nothing-to-do"
    (moved / "items/5.txt").write_text("item 5")
    ended = job.run("--json", PYTHONHASHSEED="4")
    assert (ended.json["executed_items"], ended.json["rows"]) == (1, 6)
    assert job.parts().items() >= parts.items()


@needs_tracing
def test_copied_while_half_done_to_another_machine(
    job: Folder, tmp_path: Path, kill: Callable[..., None], slow: str
) -> None:
    """What was staged is adopted there, and what the other machine left half written goes."""
    first = tmp_path / "first"
    first.mkdir()
    job.path = first
    job.write(slow)
    kill(first, "*/staged/000001-000001-*")
    assert list((first / "out.batten/staging").iterdir())
    moved = tmp_path / "moved"
    shutil.copytree(first, moved)
    job.path = moved
    ended = run_on_machine("elsewhere", moved)
    assert ended.returncode == 0, ended.stderr
    assert "3 adopted" in ended.stderr or "1 adopted" in ended.stderr, ended.stderr
    assert [row["value"] for row in job.rows()] == list(range(6))
    assert verify(moved / "out").is_sound
    assert list((moved / "out.batten/staging").iterdir()) == []


def run_on_machine(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the job where the machine has this name."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can give a process another machine name")
    command = f'echo {name} > /proc/sys/kernel/hostname && exec "$0" -m batten run job.py --jobs 1'
    return subprocess.run(
        ["unshare", "--uts", "sh", "-c", command, sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can get to."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_another_user(job: Folder, shared: Path, nobody: list[str]) -> None:
    prepare(shared)
    job.path = shared
    job.write(JOB)
    assert job.run("--limit", "2").code == 0
    first = job.parts()
    for path in [shared, *shared.rglob("*")]:
        os.chown(path, 65534, 65534)
    ended = subprocess.run(
        [*nobody, sys.executable, "-m", "batten", "run", "job.py"],
        cwd=shared,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]} | python_path(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "3 executed" in ended.stderr
    assert job.parts().items() >= first.items()
    assert {path.stat().st_uid for path in (shared / "out").iterdir()} == {65534}
    assert verify(shared / "out").is_sound


def python_path() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


OWNER, COLLEAGUE, GROUP = 4711, 65534, 777
SHARED_JOB = """
    def double(n):
        return {"double": 2 * n}

    pipeline = batten.from_range(6).map(double).options(batch_size=2).write_parquet("OUT")
"""
CANARY = "open('code-of-the-other-ran', 'w').close()\n"


def as_user(user: int, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In the group that both share, where new files may be written by the group."""
    become = ["setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups"]
    return subprocess.run(
        [*become, *words],
        cwd=folder,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]} | python_path(),
        capture_output=True,
        text=True,
        umask=0o002,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("how", ["group-writable", "copied"])
def test_a_colleague_diagnoses_and_resumes(shared: Path, nobody: list[str], how: str) -> None:
    """What another user began, and no code of that user is run."""
    batten_at = [sys.executable, "-m", "batten"]
    theirs, mine = shared / "theirs", shared / "mine"
    for folder, user in ((theirs, OWNER), (mine, COLLEAGUE)):
        folder.mkdir()
        os.chown(folder, user, GROUP)
        folder.chmod(0o2775)
    text = "import batten\n" + textwrap.dedent(SHARED_JOB)
    (theirs / "job.py").write_text(text.replace("OUT", "out"))
    begun = as_user(OWNER, theirs, *batten_at, "run", "job.py", "--jobs", "1", "--limit", "2")
    assert begun.returncode == 0, begun.stderr
    (theirs / "job.py").write_text(CANARY)
    out = theirs / "out"
    if how == "copied":
        out = mine / "out"
        for name in ("out", "out.batten"):
            copied = as_user(COLLEAGUE, mine, "cp", "-r", f"../theirs/{name}", name)
            assert copied.returncode == 0, copied.stderr
    (mine / "job.py").write_text(text.replace("OUT", os.path.relpath(out, mine)))
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(first) == 1

    told = as_user(COLLEAGUE, mine, *batten_at, "diagnose", str(out), "--json")
    assert told.returncode == 10, told.stderr
    assert json.loads(told.stdout)["state"] == "INTERRUPTED"
    ended = as_user(COLLEAGUE, mine, *batten_at, "run", "job.py", "--jobs", "1", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["executed_items"] == 4
    now = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(now) == 3
    assert now.items() >= first.items()
    checked = as_user(COLLEAGUE, mine, *batten_at, "verify", str(out))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert list(shared.rglob("code-of-the-other-ran")) == []
    # And the one who began it may still use it.
    again = as_user(OWNER, theirs, *batten_at, "diagnose", str(out))
    assert again.returncode == 0, again.stderr
