"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from batten.errors import RefusedError, StorageError
from batten.storage.changing import steps
from batten.storage.changing.setting_aside import is_same
from batten.storage.local.stand_alone import publish_directory, publish_file
from batten.storage.twin.memory import MemoryStorage


def test_a_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("première", "second"):
        with publish_file(path, "w") as file:
            file.write(text)
            file.flush()
            assert not path.exists() or path.read_text() == "première"
        assert path.read_text(encoding="utf-8") == text
    with publish_file(path) as raw:
        raw.write(b"\x00raw")
    assert path.read_bytes() == b"\x00raw"
    assert os.listdir(tmp_path) == ["x"]


def test_newlines_and_encoding_are_the_callers(tmp_path: Path) -> None:
    with publish_file(tmp_path / "x", "w", newline="", encoding="latin-1") as file:
        csv.writer(file).writerow(["é", 1])
    assert (tmp_path / "x").read_bytes() == b"\xe9,1\r\n"
    with pytest.raises(ValueError, match="mode"):
        publish_file(tmp_path / "x", "a")  # type: ignore[call-overload]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        with pytest.raises(error), publish_file(tmp_path / name, "w") as file:  # noqa: PT012
            file.write("half")
            raise error
        # Else its buffer would be flushed later, to whatever file has got that descriptor then.
        assert file.closed
    with pytest.raises(error), publish_directory(tmp_path / "folder") as folder:  # noqa: PT012
        (folder / "a").mkdir()
        (folder / "a" / "x").write_text("half")
        raise error
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_a_file_that_the_block_closes_is_published_all_the_same(tmp_path: Path) -> None:
    with publish_file(tmp_path / "x", "w") as file:
        file.write("text")
        file.close()
    assert (tmp_path / "x").read_text() == "text"


def test_permissions_and_links_of_what_is_replaced_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o604)
    (tmp_path / "link").symlink_to("target")
    with publish_file(tmp_path / "link", "w") as file:
        file.write("new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o604
    assert (tmp_path / "link").is_symlink()


def test_long_names_fit(tmp_path: Path) -> None:
    for name in ("é" * 127, "x" * 255):
        with publish_file(tmp_path / name) as file:
            file.write(b"data")
    assert len(os.listdir(tmp_path)) == 2


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were synced, in order."""
    seen: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return seen


def test_a_file_is_synced_before_it_appears_and_its_name_after(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "observer", lambda moment, step, name: synced.append(step))
    with publish_file(tmp_path / "x") as file:
        file.write(b"data")
        hidden = str(tmp_path / os.listdir(tmp_path)[0])
    order = [hidden, "publish_file.rename", str(tmp_path)]
    assert [each for each in dict.fromkeys(synced) if each in order] == order


def test_a_folder_appears_whole_and_synced(tmp_path: Path, synced: list[str]) -> None:
    with publish_directory(tmp_path / "out") as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "x").write_text("x")
        (folder / "y").write_text("y")
        (folder / "link").symlink_to("nowhere")
        assert os.listdir(tmp_path) == [folder.name]
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "link", "y"]
    shown = [os.path.relpath(path, folder) for path in synced]
    assert set(shown[:-1]) == {"a/b/x", "a/b", "a", "y", "."}
    assert shown.index("a/b/x") < shown.index("a/b") < shown.index("a") < shown.index(".")
    assert synced[-1] == str(tmp_path)


def test_an_empty_folder_is_filled_and_any_other_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    with publish_directory(path) as folder:
        (folder / "x").write_text("1")
    with pytest.raises(RefusedError), publish_directory(path):
        pytest.fail("the block is not entered")
    with pytest.raises(RefusedError), publish_directory(path / "x"):
        pytest.fail("the block is not entered")
    assert (path / "x").read_text() == "1"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_appears_during_the_block_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    with pytest.raises(RefusedError), publish_directory(path) as folder:  # noqa: PT012
        (folder / "x").write_text("mine")
        other = path
        if kind == "folder":
            path.mkdir()
            other = path / "x"
        other.write_text("theirs")
    assert other.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out"]


def test_a_place_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x", tmp_path / "folder"):
        with pytest.raises(StorageError), publish_file(path):
            pytest.fail("the block is not entered")
    with pytest.raises(StorageError), publish_directory(tmp_path / "none" / "x"):
        pytest.fail("the block is not entered")


KILLED = """
import os, signal, sys
from pathlib import Path
from batten.storage.local.stand_alone import publish_directory, publish_file
kind, path = sys.argv[1:]
if kind == "file":
    with publish_file(path, "w") as file:
        file.write("new" * 100_000)
else:
    with publish_directory(path) as folder:
        (folder / "x").write_text("new")
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_at_any_step_it_is_whole_or_absent(tmp_path: Path, kind: str) -> None:
    for at in range(1, 6):
        path = tmp_path / str(at)
        environment = {**os.environ, "BATTEN_CRASH_AT": f"{at}"}
        done = subprocess.run(
            [sys.executable, "-c", KILLED, kind, str(path)], env=environment, check=False
        )
        assert (done.returncode == 0) == (at == 5)
        assert path.exists() == (at >= 4)
        if path.exists():
            file = path if kind == "file" else path / "x"
            assert file.read_text() == "new" * (100_000 if kind == "file" else 1)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_and_what_is_being_made_stays(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x"
    publish = publish_file if kind == "file" else publish_directory
    environment = {**os.environ, "BATTEN_CRASH_AT": "3"}
    subprocess.run([sys.executable, "-c", KILLED, kind, str(path)], env=environment, check=False)
    (left,) = os.listdir(tmp_path)
    mine = [f".x.{os.uname().nodename}-mine", ".x.elsewhere-1-0123456789abcdef", f"y{left}"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    with publish(tmp_path / "x"):
        (making,) = set(os.listdir(tmp_path)).difference(mine)
        assert making != left
        if kind == "file":
            with publish(path):
                assert making in os.listdir(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["x", *mine])


def test_the_file_can_be_written_by_a_forked_child(tmp_path: Path) -> None:
    with publish_file(tmp_path / "x") as file:
        child = os.fork()
        if not child:
            os.write(file.fileno(), b"by a child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "x").read_bytes() == b"by a child"


def test_the_steps_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(steps, "observer", lambda moment, step, name: seen.append(step))
    with publish_file(tmp_path / "x"):
        pass
    with publish_directory(tmp_path / "y"):
        pass
    assert set(seen) <= set(steps.STEPS)
    assert len(seen) == 16


class Untold(io.BytesIO):
    """A file of which the system does not say which it is."""

    def fileno(self) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class UntoldStorage(MemoryStorage):
    def open(self, name: str) -> BinaryIO:
        return Untold(self.read(name))


def test_bytes_are_compared_where_it_is_not_told_whether_files_are_one() -> None:
    storage = UntoldStorage()
    for name, data in {"a": b"same", "b": b"same", "c": b"another"}.items():
        storage.stage(name, data, is_synced=True)
    assert is_same(storage, "a", "b")
    assert not is_same(storage, "a", "c")
