"""A root, or a folder in it, that is a mount point: real ones, in a namespace of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
from pathlib import Path
import batten

root = Path("notes")
assert os.stat(root / "other").st_dev != os.stat("notes.batten").st_dev
(root / "other/old").write_text("old")
(root / "other/base").write_text("base")
(root / "here").write_text("here")
try:
    with batten.transaction(root) as change:
        change.protect("other/base").write_text("lost")
        change.write("other/old", "lost")
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
assert (root / "other/base").read_text() == "base"
assert (root / "other/old").read_text() == "old"
with batten.transaction(root) as change:
    change.protect("other/base").write_text("in place")
    change.write("other/old", "new")
    change.write("other/deep/made", "made")
    change.move("here", "other/moved")
    change.replace("copied", root / "other/old")
assert {path.name for path in (root / "other").iterdir()} == {"old", "base", "deep", "moved"}
assert [(root / "other" / name).read_text() for name in ("old", "base", "deep/made", "moved")] == [
    "new", "in place", "made", "here"
]
assert (root / "copied").read_text() == "old"
assert list(Path("notes.batten/tree/staging").iterdir()) == []
"""


def unshared(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def find_obstacle() -> str | None:
    try:
        tried = unshared("mount -t tmpfs none /mnt", Path("/"))
    except FileNotFoundError:
        return "there is no unshare here"
    return f"mounting is not permitted: {tried.stderr.strip()}" if tried.returncode else None


OBSTACLE = find_obstacle()


@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize("mount", ["notes", "notes/other"])
def test_a_mount_point(tmp_path: Path, mount: str) -> None:
    (tmp_path / "notes.batten").mkdir()
    (tmp_path / "notes" / "other").mkdir(parents=True)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = unshared(
        f"mount -t tmpfs none {mount}; mkdir -p notes/other; '{sys.executable}' program.py",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
