"""What is particular to a storage on this machine."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batten.errors import MisplacedError, StorageError
from batten.model.disk.throwaway_names import find_staging_owner
from batten.storage.base import READ_BYTES_MAX, Put
from batten.storage.beneath import OPEN_MAX
from batten.storage.changing import publishing, steps
from batten.storage.changing.publishing import fresh_name
from batten.storage.changing.setting_aside import is_same
from batten.storage.failures import is_of_wrong_kind
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
from batten.storage.local.writing.writing import HURRY_BYTES, write_all


def test_names_that_are_not_utf8_are_listed_read_and_deleted(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(raw, "wb") as file:
        file.write(b"data")
    storage = LocalStorage(tmp_path)
    (entry,) = storage.list("")
    assert os.fsencode(entry.name) == b"caf\xe9"
    assert storage.read(entry.name) == b"data"
    with pytest.raises(StorageError) as caught:
        storage.stage(entry.name, b"", is_synced=False)
    caught.value.what.encode()  # What is said of it can be printed.
    storage.delete(entry.name)
    assert os.listdir(tmp_path) == []


def test_names_that_are_taken_by_broken_links_and_pipes_are_listed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    storage = LocalStorage(tmp_path)
    assert {entry.name for entry in storage.list("")} == {"link", "pipe"}
    storage.delete("link")
    assert storage.find("link") is None


def test_a_link_is_found_and_listed_as_what_it_is(tmp_path: Path) -> None:
    """Nothing is told of what it leads to, and nothing below it is seen."""
    (tmp_path / "elsewhere/inner").mkdir(parents=True)
    (tmp_path / "elsewhere/precious").write_bytes(bytes(1000))
    root = tmp_path / "root"
    root.mkdir()
    targets = {"to a file": "precious", "to a folder": "", "to a device": "/dev/zero"}
    for name, target in targets.items():
        (root / name).symlink_to(tmp_path / "elsewhere" / target)
    storage = LocalStorage(root)
    listed = {entry.name: entry for entry in storage.list("")}
    assert set(listed) == set(storage.list_names("")) == set(targets)
    for name in targets:
        found, own = storage.find(name), (root / name).lstat()
        assert found is not None
        for entry in (found, listed[name]):
            assert (entry.kind, entry.size) == ("link", own.st_size)
            assert entry.modified_seconds == own.st_mtime
    for look in (storage.list, storage.list_names):
        with pytest.raises(MisplacedError):
            list(look("to a folder"))
    for name in ("to a folder/precious", "to a folder/inner", "to a folder/nothing"):
        with pytest.raises(MisplacedError):
            storage.find(name)


def test_deleting_a_link_to_a_folder_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    LocalStorage(tmp_path).delete("link")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_shared_file_is_new_and_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/runs").symlink_to(tmp_path / "elsewhere")
    storage = LocalStorage(tmp_path / "root")
    with pytest.raises(MisplacedError):
        storage.create_shared("runs/marks", 64)
    assert os.listdir(tmp_path / "elsewhere") == []

    descriptor = storage.create_shared("marks", 64)
    assert os.fstat(descriptor).st_size == 64
    os.close(descriptor)
    with pytest.raises(StorageError):
        storage.create_shared("marks", 64)


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        LocalStorage(tmp_path).stage("x", b"", is_synced=False)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage(Path("root"))
    monkeypatch.chdir("/")
    storage.ensure_folder("")
    storage.stage("x", b"", is_synced=False)
    assert (tmp_path / "root" / "x").exists()
    assert storage.place == str(tmp_path / "root")
    assert pickle.loads(pickle.dumps(storage)).read("x") == b""
    assert LocalStorage("/").place == "/"
    assert LocalStorage("/").find("proc") is not None


def test_a_write_that_is_taken_piece_by_piece_is_completed() -> None:
    """A socket takes less than it is given: its buffer is smaller."""
    reader, writer = os.pipe()
    data = os.urandom(1 << 20)
    received: list[bytes] = []

    def receive() -> None:
        while piece := os.read(reader, 3000):
            received.append(piece)

    thread = threading.Thread(target=receive)
    thread.start()
    write_all(writer, memoryview(data))
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(received) == data


def test_a_short_write_then_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """The limit on a file's size cuts the first write short and fails the second."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            LocalStorage(tmp_path).stage("x", bytes(20_000), is_synced=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == []


FILL = """
import sys
from batten.errors import StorageError
from batten.storage.changing import publishing
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
storage = LocalStorage(sys.argv[1])
for folder in ("out", "staging"):
    storage.ensure_folder(folder)
storage.lock("lock", current_holder()).release()
written = 0
try:
    while True:
        publishing.create(storage, "staging", f"out/{written}", bytes([written % 256]) * 30_000)
        written += 1
except StorageError as error:
    print(error.errno, error.what.endswith("failed: the disk is full."))
with storage.lock("lock", current_holder()):
    found = {entry.name: storage.read(entry.name) for entry in storage.list("out")}
    assert all(found[f"out/{n}"] == bytes([n % 256]) * 30_000 for n in range(written))
    assert len(found) == written, "a file that was not told as committed"
    assert list(storage.list("staging")) == [], "half a file"
    storage.delete("out/0")
    print(publishing.create(storage, "staging", "out/0", b"again"))
"""


def test_a_small_filesystem_that_fills_up(tmp_path: Path) -> None:
    """In a namespace of its own, so that the mount is gone with the process."""
    mount = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable, FILL], capture_output=True, text=True, check=False
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no filesystem can be mounted here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == (f"{errno.ENOSPC} True\nPut.MADE\n", "")


def test_folders_are_made_once_by_many_processes_at_a_time(tmp_path: Path) -> None:
    start, go = os.pipe()
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(start, 1)  # All begin when the other end is closed.
            status = 1
            try:
                for number in range(50):
                    LocalStorage(tmp_path / "root").ensure_folder(f"a/{number}/b")
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    os.close(start)
    os.close(go)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    assert len(list((tmp_path / "root" / "a").iterdir())) == 50


def test_one_of_many_processes_publishes_a_name(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.ensure_folder("staging")
    children = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                for name in range(20):
                    data = bytes([number]) * 1000
                    status += publishing.create(storage, "staging", f"{name}", data) is Put.MADE
            finally:
                os._exit(status)
        children.append(pid)
    won = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sum(won) == 20
    owners = [storage.read(str(name)) for name in range(20)]
    assert all(data == bytes([data[0]]) * 1000 for data in owners)
    assert [sum(data[0] == each for data in owners) for each in range(6)] == won
    assert list(storage.list("staging")) == []


def test_folders_above_the_root_are_made_durable_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        steps, "observer", lambda moment, step, name: seen.append(step) if moment == "before" else 0
    )
    storage = LocalStorage(tmp_path / "a" / "b")
    storage.ensure_folder("c")
    assert seen == ["sync_names", *["make_folder", "sync_names"] * 3]
    seen.clear()
    storage.ensure_folder("c")
    assert seen == []
    LocalStorage(tmp_path / "a" / "b").ensure_folder("c")
    assert seen == ["sync_names"]


def test_nothing_is_left_open_after_a_lock(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    before = os.listdir("/proc/self/fd")
    storage.ensure_folder("staging")
    publishing.create(storage, "staging", "x", b"data")
    for name in ("staging", "x/y"):
        with pytest.raises(StorageError):
            storage.read(name)
    next(storage.list(""))
    with storage.lock("lock", current_holder()):
        publishing.create(storage, "staging", "y", b"data")
    assert os.listdir("/proc/self/fd") == before


def test_a_fresh_name_tells_its_owner_and_is_fresh() -> None:
    names = {fresh_name("staging", "part.parquet") for _ in range(100)}
    assert len(names) == 100
    owner = find_staging_owner(names.pop().removeprefix("staging/"))
    assert owner == (os.uname().nodename, os.getpid())


def test_a_large_file_that_is_hurried_to_the_disk_holds_what_was_given(tmp_path: Path) -> None:
    pieces = [bytes([number]) * (HURRY_BYTES // 2 + 1) for number in range(5)]
    LocalStorage(tmp_path).stage("x", iter(pieces), is_synced=True)
    assert (tmp_path / "x").read_bytes() == b"".join(pieces)


def test_a_huge_file_is_refused_unless_its_size_is_expected(tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as file:
        file.truncate(READ_BYTES_MAX + 1)
    storage = LocalStorage(tmp_path)
    with pytest.raises(StorageError, match="larger than any file of its kind") as caught:
        storage.read("x")
    assert is_of_wrong_kind(caught.value)
    assert storage.read("x", offset=-3) == bytes(3)
    assert len(storage.read("x", bytes_max=None)) == READ_BYTES_MAX + 1


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_not_read_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o666)
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root may make devices")
    storage = LocalStorage(tmp_path)
    for read in (storage.read, storage.open):
        with pytest.raises(StorageError) as caught:
            read("x")
        assert is_of_wrong_kind(caught.value)
    assert list(storage.read_each("", ["x"])) == [None]


def test_a_folder_that_has_its_name_no_more_is_not_acted_on(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.ensure_folder("a/b")
    storage.stage("a/b/one", b"1", is_synced=False)
    (tmp_path / "a/b").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        storage.stage("a/b/two", b"2", is_synced=False)
    storage.ensure_folder("a/b")
    storage.stage("a/b/three", b"3", is_synced=False)
    assert os.listdir(tmp_path / "elsewhere") == ["one"]
    (tmp_path / "a/b").rename(tmp_path / "again")
    (tmp_path / "a/b").symlink_to(tmp_path / "again")
    with pytest.raises(StorageError) as caught:
        storage.delete("a/b/three")
    assert is_of_wrong_kind(caught.value)
    assert "a/b' is a symbolic link" in caught.value.what
    assert os.listdir(tmp_path / "again") == ["three"]


def test_few_folders_stay_open(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    gc.collect()  # What other tests left open would be closed meanwhile.
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_MAX * 3):
        storage.ensure_folder(f"{number}")
        storage.stage(f"{number}/x", b"", is_synced=False)
    assert len(os.listdir("/proc/self/fd")) - before <= OPEN_MAX
    del storage
    assert len(os.listdir("/proc/self/fd")) <= before


def test_of_a_tree_that_is_deleted_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    storage = LocalStorage(tmp_path / "root")
    storage.ensure_folder("tree/inner")
    (tmp_path / "root/tree/inner/link").symlink_to(outside)
    (tmp_path / "root/link").symlink_to(outside)
    storage.delete_tree("tree")
    storage.delete_tree("link")
    assert os.listdir(tmp_path / "root") == []
    assert os.listdir(outside) == ["precious"]


def test_two_names_of_a_file_are_the_same_without_reading_it(tmp_path: Path) -> None:
    """A file of this size would be read for hours."""
    (tmp_path / "one").touch()
    os.truncate(tmp_path / "one", 1 << 42)
    os.link(tmp_path / "one", tmp_path / "two")
    assert is_same(LocalStorage(tmp_path), "one", "two")
