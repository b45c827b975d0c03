"""Errors of the operating system at each durable step, and crashes asked for by the environment."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batten.errors import StorageError, UsageError
from batten.storage.base import Folder, Put
from batten.storage.changing import faults, publishing, setting_aside, steps
from batten.storage.failures import writing_failure
from batten.storage.local import stand_alone as atomic
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
from batten.storage.twin.memory import MemoryStorage

STAGING = "out.batten/staging"
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM)
TOLERATED = {"append_log", "lock.write", "lock.clear"}


class FailAt:
    """An observer that makes the n-th step fail, and keeps what was done."""

    def __init__(self, at: int, code: int) -> None:
        self.at = at
        self.code = code
        self.steps: list[str] = []

    def __call__(self, moment: str, step: str, name: str) -> None:
        if moment == "before":
            self.steps.append(step)
            if len(self.steps) == self.at:
                raise OSError(self.code, os.strerror(self.code), name)


def act(storage: Folder) -> None:
    """Everything that a storage does."""
    for folder in ("out", STAGING):
        storage.ensure_folder(folder)
    with storage.lock("out.batten/lock", current_holder()):
        storage.append_log("out.batten/log", b"begun")
        publishing.create(storage, STAGING, "out/x", b"old")
        publishing.replace(storage, STAGING, "out/x", b"new")
        if storage.find("out.batten/y") is None:
            publishing.create(storage, STAGING, "out/y", b"aside")
        setting_aside.set_aside(storage, "out/y", "out.batten/y")


def failure_of(storage: Folder) -> StorageError | None:
    try:
        act(storage)
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["local", "memory"])
@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_every_step_may_fail_once_and_the_next_run_succeeds(
    kind: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, failed = 0, set()
    while True:
        at += 1
        root = tmp_path / str(at)
        root.mkdir()
        storage = LocalStorage(root) if kind == "local" else MemoryStorage()
        storage.ensure_folder("")
        fault = FailAt(at, code)
        monkeypatch.setattr(storage if kind == "memory" else steps, "observer", fault)
        error = failure_of(storage)
        if len(fault.steps) < at:
            break
        step = fault.steps[at - 1]
        if error is None:
            assert step in TOLERATED or (code, step) == (errno.EPERM, "publish.link")
        else:
            failed.add(step)
            assert (error.errno, bool(error.what and error.safe and error.next)) == (code, True)
        monkeypatch.setattr(storage if kind == "memory" else steps, "observer", None)
        again = LocalStorage(root) if isinstance(storage, LocalStorage) else storage.restart()
        assert again.observe_lock("out.batten/lock") is None
        act(again)
        assert again.read("out/x") == b"new"
        assert again.read("out.batten/y") == b"aside"
        assert again.find("out/y") is None
    assert failed >= {
        "make_folder", "sync_names", "lock", "stage.create", "stage.write", "stage.sync",
        "replace.rename", "delete",
    }  # fmt: skip


def test_a_failed_write_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    for at in (2, 3):
        monkeypatch.setattr(steps, "observer", FailAt(at, errno.ENOSPC))
        with pytest.raises(StorageError, match="the disk is full"):
            storage.stage("x", b"data", is_synced=True)
        assert list(storage.list("")) == []


def test_what_failed_to_sync_is_not_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    monkeypatch.setattr(steps, "observer", FailAt(1, errno.EIO))
    with pytest.raises(StorageError):
        storage.sync_names("")
    with pytest.raises(StorageError) as caught:
        storage.sync_names("")
    assert caught.value.errno == errno.EIO
    LocalStorage(tmp_path).sync_names("")


def test_a_folder_of_others_above_the_root_need_not_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "observer", FailAt(1, errno.EACCES))
    LocalStorage(tmp_path).ensure_folder("")
    monkeypatch.setattr(steps, "observer", FailAt(1, errno.EIO))
    with pytest.raises(StorageError):
        LocalStorage(tmp_path).ensure_folder("")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_a_filesystem_that_cannot_sync_folders_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(steps, "observer", FailAt(1, code))
    storage = LocalStorage(tmp_path)
    for _ in range(2):
        storage.sync_names("")


@pytest.mark.parametrize("code", [errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("flag_error", [0, errno.EINVAL, errno.ENOSYS])
def test_without_hard_links_a_rename_publishes_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, flag_error: int
) -> None:
    def fail(moment: str, step: str, name: str) -> None:
        if (moment, step) == ("before", "publish.link"):
            raise OSError(code, os.strerror(code), name)

    def fail_renameat2(*arguments: object) -> None:
        raise OSError(flag_error, os.strerror(flag_error))

    monkeypatch.setattr(steps, "observer", fail)
    if flag_error:
        monkeypatch.setattr("batten.storage.local.writing.renaming._renameat2", fail_renameat2)
    storage = LocalStorage(tmp_path)
    storage.ensure_folder(STAGING)
    assert publishing.create(storage, STAGING, "x", b"first") is Put.MADE
    assert publishing.create(storage, STAGING, "x", b"second") is Put.OTHER
    assert storage.read("x") == b"first"
    setting_aside.set_aside(storage, "x", "y")
    assert {each.name for each in storage.list("")} == {"out.batten", "y"}
    with pytest.raises(StorageError):
        storage.publish("none", "z")


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_publishing_alone_fails_whole_at_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Up to the rename nothing is seen; after it only the name may not be durable yet."""
    for count, publish in ((4, publish_text), (4, publish_folder)):
        for at in range(1, count + 1):
            root = tmp_path / f"{publish.__name__}-{at}"
            root.mkdir()
            fault = FailAt(at, code)
            monkeypatch.setattr(steps, "observer", fault)
            with pytest.raises(StorageError) as caught:
                publish(root)
            assert caught.value.errno == code
            assert os.listdir(root) == (["x"] if at == count else [])
            assert (fault.steps[-1] == "sync_names") == (at == count)


def publish_text(root: Path) -> None:
    with atomic.publish_file(root / "x", "w") as file:
        file.write("text")


def publish_folder(root: Path) -> None:
    with atomic.publish_directory(root / "x") as folder:
        (folder / "y").write_text("text")


ACT = """
import os, sys
from pathlib import Path
from batten.storage.failures import writing_failure
from batten.storage.local.folder import LocalStorage
from batten.storage.changing import publishing
storage = LocalStorage(Path(sys.argv[1]))
storage.ensure_folder("staging")
def work(name):
    for number in range(20):
        publishing.create(storage, "staging", f"{name}-{number}", b"data")
"""


def run(script: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("BATTEN_")}
    return subprocess.run(
        [sys.executable, "-c", ACT + script, str(root)],
        env=clean | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def counted(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        yield line.split()[0]


def test_steps_are_counted_over_forked_processes(tmp_path: Path) -> None:
    script = """
children = []
for each in "abc":
    pid = os.fork()
    if pid == 0:
        work(each)
        os._exit(0)
    children.append(pid)
print(*(os.waitpid(pid, 0)[1] for pid in children))
"""
    steps_file = tmp_path / "steps"
    assert run(script, tmp_path / "a", BATTEN_COUNT_STEPS=str(steps_file)).stdout == "0 0 0\n"
    found = Counter(counted(steps_file))
    assert found["publish.link"] == 60
    assert set(found) <= set(steps.STEPS)
    # Whoever comes to the last step is killed by it, and nobody else is.
    last = str(found.total())
    statuses = run(script, tmp_path / "b", BATTEN_CRASH_AT=last).stdout.split()
    assert sorted(statuses) == ["0", "0", str(int(signal.SIGKILL))]
    assert run(script, tmp_path / "c", BATTEN_CRASH_AT=f"{found.total() + 1}").stdout == "0 0 0\n"


@pytest.mark.parametrize(("at", "expected"), [("9", []), ("9:before", []), ("9:after", ["x-0"])])
def test_a_crash_comes_before_or_after_the_step(
    tmp_path: Path, at: str, expected: list[str]
) -> None:
    reference = tmp_path / "reference"
    run("work('x')", reference, BATTEN_COUNT_STEPS=str(tmp_path / "steps"))
    assert list(counted(tmp_path / "steps"))[8] == "publish.link"
    root = tmp_path / "crashed"
    (tmp_path / "count").touch()
    done = run("work('x')", root, BATTEN_CRASH_AT=at, BATTEN_COUNT_STEPS=str(tmp_path / "count"))
    assert done.returncode == -signal.SIGKILL
    assert [each for each in os.listdir(root) if each != "staging"] == expected
    assert len(list(counted(tmp_path / "count"))) == 9


def test_a_failure_is_translated_as_a_real_one(tmp_path: Path) -> None:
    done = run("work('x')", tmp_path / "root", BATTEN_FAIL_AT="6:ENOSPC")
    assert done.returncode == 1
    assert "StorageError" in done.stderr
    assert "the disk is full" in done.stderr
    assert os.listdir(tmp_path / "root" / "staging") == []


@pytest.mark.parametrize(
    "environment",
    [
        {faults.CRASH_AT: "x"},
        {faults.CRASH_AT: "1:during"},
        {faults.FAIL_AT: "1"},
        {faults.FAIL_AT: "1:ENOTHING"},
    ],
)
def test_what_is_not_understood_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        faults.find_observer(environment)


def test_without_the_variables_there_is_no_observer() -> None:
    assert faults.find_observer({"BATTEN_SEED": "1"}) is None
    assert steps.observer is None


def test_the_disk_being_full_is_told_with_what_to_do() -> None:
    error = writing_failure(OSError(errno.ENOSPC, ""), "Writing", "/data/x")
    what, safe, next_step = str(error).splitlines()
    assert what == "Writing '/data/x' failed: the disk is full."
    assert safe.startswith("What was committed before is safe")
    assert next_step == "Free some space there, then run the same command again."
