"""The lock, with real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from batten.errors import BusyError, StorageError
from batten.model.disk.records import decode_record, encode_record
from batten.model.disk.runs.holders import Holder
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking import locks
from batten.storage.local.locking.locks import current_holder

TAKE = """
import os, sys
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
lock = LocalStorage(sys.argv[1]).lock("lock", current_holder())
"""
SAY_SO_AND_WAIT = """
print(os.getpid(), flush=True)
sys.stdin.read()
"""
FORK = """
if os.fork() == 0:
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
"""


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(script: str, root: Path, processes: ExitStack) -> tuple[subprocess.Popen[str], int]:
    """A process that has run the script up to the line that it prints, and that line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    processes.enter_context(process)  # Closes its input, which ends it, and waits.
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="a symbolic link lies where a file should be"):
        LocalStorage(tmp_path).lock("lock", current_holder())
    assert not (tmp_path / "elsewhere").exists()


def test_a_killed_holder_holds_nothing(tmp_path: Path, processes: ExitStack) -> None:
    storage = LocalStorage(tmp_path)
    process, pid = start(TAKE + SAY_SO_AND_WAIT, tmp_path, processes)
    with pytest.raises(BusyError) as caught:
        storage.lock("lock", current_holder())
    assert f"process {pid} on {os.uname().nodename} since 20" in caught.value.what
    observed = storage.observe_lock("lock")
    assert observed is not None
    assert observed.pid == pid
    process.kill()
    process.wait()
    assert storage.read("lock") != b""
    assert storage.observe_lock("lock") is None
    storage.lock("lock", current_holder()).release()


def test_a_forked_child_neither_keeps_the_lock_nor_ends_it(
    tmp_path: Path, processes: ExitStack
) -> None:
    storage = LocalStorage(tmp_path)
    process, child = start(TAKE + FORK + "sys.stdin.read()", tmp_path, processes)
    assert child != process.pid
    # Had the child's copy been unlocked instead of closed, the parent would have lost its lock.
    with pytest.raises(BusyError):
        storage.lock("lock", current_holder())
    process.kill()
    process.wait()
    os.kill(child, 0)  # It lives: it waits for its input, which this test still holds open.
    assert storage.observe_lock("lock") is None
    storage.lock("lock", current_holder()).release()


def test_a_child_that_releases_what_it_inherited_changes_nothing(
    tmp_path: Path, processes: ExitStack
) -> None:
    fork = FORK.replace("    print", "    lock.release()\n    print")
    process, _ = start(TAKE + fork + "sys.stdin.read()", tmp_path, processes)
    observed = LocalStorage(tmp_path).observe_lock("lock")
    assert observed is not None
    assert observed.pid == process.pid


def test_a_program_that_the_holder_runs_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with LocalStorage(tmp_path).lock("lock", current_holder()):
        held = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
        assert str(tmp_path / "lock") in held
        listed = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, check=True
        )
        assert os.fsencode(tmp_path) not in listed.stdout


def test_a_drained_holder_leaves_no_text(tmp_path: Path, processes: ExitStack) -> None:
    process, _ = start(TAKE + SAY_SO_AND_WAIT + "lock.release()", tmp_path, processes)
    process.communicate("")
    assert (tmp_path / "lock").read_bytes() == b""


def test_a_probe_that_is_over_soon_does_not_make_the_lock_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").touch()
    probe = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    # The probe ends while the lock is being waited for.
    monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(probe, fcntl.LOCK_UN))
    LocalStorage(tmp_path).lock("lock", current_holder()).release()
    os.close(probe)


def test_a_lock_file_that_is_replaced_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock = fcntl.flock
    calls: list[int] = []

    def replace_then_lock(descriptor: int, operation: int) -> None:
        if not calls:
            path.unlink()
            path.touch()
        calls.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replace_then_lock)
    with LocalStorage(tmp_path).lock("lock", current_holder()):
        assert calls.count(fcntl.LOCK_EX | fcntl.LOCK_NB) == 2
        other = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)


@pytest.mark.parametrize("text", [b"", b'{"pid": 12, "ho', b"\xff\x00", b"[]"])
def test_a_holder_without_a_readable_text_is_known_by_the_kernel(
    tmp_path: Path, processes: ExitStack, text: bytes
) -> None:
    _, pid = start(TAKE + SAY_SO_AND_WAIT, tmp_path, processes)
    (tmp_path / "lock").write_bytes(text)
    assert LocalStorage(tmp_path).observe_lock("lock") == Holder(
        pid=pid, host="", since="", boot=""
    )
    with pytest.raises(BusyError, match=f"process {pid}"):
        LocalStorage(tmp_path).lock("lock", current_holder())


def test_the_text_of_an_earlier_holder_does_not_name_the_present_one(
    tmp_path: Path, processes: ExitStack
) -> None:
    _, pid = start(TAKE + SAY_SO_AND_WAIT, tmp_path, processes)
    (tmp_path / "lock").write_bytes(encode_record(current_holder()))
    observed = LocalStorage(tmp_path).observe_lock("lock")
    assert observed is not None
    assert observed.pid == pid


def texts_of_others() -> dict[str, Holder]:
    here = current_holder()
    fields = vars(here)
    return {
        "another host": Holder(**{**fields, "host": "elsewhere"}),
        "another process namespace": Holder(**{**fields, "pid_namespace": "pid:[1]"}),
        "another boot": Holder(**{**fields, "boot": "another"}),
        "a living process": Holder(**{**fields, "pid": os.getppid()}),
    }


@pytest.mark.parametrize("who", texts_of_others())
def test_holders_that_the_kernels_table_may_not_show_are_probed(
    tmp_path: Path, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As seen from inside a container, or where the filesystem has two device numbers.
    monkeypatch.setattr(locks, "_read_lock_table", bytes)
    holder = texts_of_others()[who]
    storage = LocalStorage(tmp_path)
    (tmp_path / "lock").write_bytes(encode_record(holder))
    assert storage.observe_lock("lock") is None
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert storage.observe_lock("lock") == holder
    os.close(descriptor)
    assert storage.observe_lock("lock") is None
    assert (tmp_path / "lock").read_bytes() == encode_record(holder)


def test_without_the_kernels_table_the_lock_is_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_read_lock_table", bytes)
    storage = LocalStorage(tmp_path)
    assert storage.observe_lock("lock") is None
    with storage.lock("lock", current_holder()):
        assert storage.observe_lock("lock") == decode_record(Holder, storage.read("lock"))
    assert storage.observe_lock("lock") is None


def test_the_lock_of_a_killed_process_is_free(
    tmp_path: Path, processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> bytes:
        raise AssertionError("to read the kernel's table takes long")

    storage = LocalStorage(tmp_path)
    process, _ = start(TAKE + SAY_SO_AND_WAIT, tmp_path, processes)
    process.send_signal(signal.SIGKILL)
    process.wait()
    monkeypatch.setattr(locks, "_read_lock_table", refuse)
    assert storage.observe_lock("lock") is None
    assert storage.observe_lock("none") is None


def test_looks_disturb_nobody_who_takes_the_lock(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.lock("lock", current_holder()).release()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            storage.observe_lock("lock")

    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(look) for _ in range(2)]
        try:
            for _ in range(200):
                storage.lock("lock", current_holder()).release()
        finally:
            is_over.set()
        for each in looks:
            each.result()
