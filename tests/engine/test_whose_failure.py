"""What the machine lacks is no item's failure: the run ends with 7, what is finished is kept, and
the next run goes on. The same error of an item's own sets the item aside."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import batten
from batten.errors import StorageError
from batten.storage.blame import find_machine_failure

if TYPE_CHECKING:
    from conftest import JobFolder

MACHINES = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM")
ITEMS = ("ENOENT", "EACCES", "EISDIR", "ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EAGAIN")


def of_system(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


def caught(raise_it: Callable[[], object]) -> BaseException:
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("it raised nothing")


def by_a_client() -> None:
    """As httpx does: the system's error is the context, and hidden."""
    try:
        raise of_system("EMFILE")
    except OSError as error:
        raise httpx.ConnectError(str(error)) from None


def in_a_group() -> None:
    raise BaseExceptionGroup("tasks", [ValueError(), of_system("ENOSPC")])


def no_process(monkeypatch: pytest.MonkeyPatch) -> BaseException:
    def refuse(*words: object) -> int:
        raise of_system("EAGAIN")

    monkeypatch.setattr("subprocess._fork_exec", refuse)
    monkeypatch.setattr("subprocess._USE_VFORK", False)
    return caught(lambda: subprocess.run(["true"], close_fds=False, cwd="/", check=True))


def full_database(path: Path) -> BaseException:
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.execute("pragma max_page_count = 3")
    fill = "insert into t values (randomblob(9999))"
    error = caught(lambda: [connection.execute(fill) for _ in range(99)])
    connection.close()
    return error


@pytest.mark.parametrize("name", MACHINES)
def test_what_the_system_tells_of_the_machine(name: str) -> None:
    failure = find_machine_failure(of_system(name))
    assert failure is not None
    assert failure.errno == getattr(errno, name)
    assert failure.safe
    assert failure.next


@pytest.mark.parametrize("name", ITEMS)
def test_what_the_system_tells_of_an_item(name: str) -> None:
    assert find_machine_failure(of_system(name)) is None


def test_clients_wrap_what_the_system_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_machine_failure(caught(by_a_client)) is not None
    assert find_machine_failure(caught(in_a_group)) is not None
    assert find_machine_failure(no_process(monkeypatch)) is not None
    assert find_machine_failure(full_database(tmp_path / "full.db")) is not None
    assert find_machine_failure(RuntimeError("can't start new thread")) is not None


@pytest.mark.parametrize(
    "error",
    [MemoryError(), ValueError("No space left on device"), sqlite3.IntegrityError(), OSError("no")],
)
def test_the_rest_is_the_items(error: Exception) -> None:
    assert find_machine_failure(error) is None


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert find_machine_failure(one) is None


PLAIN = """
import errno, os
from pathlib import Path

def work(number):
    with open("calls", "a") as file:
        file.write(f"{number}\\n")
    if number == 7 and not Path("mended").exists():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return {"number": number}

pipeline = batten.from_range(20).map(work, retries=1).write_parquet("out/")
"""
AWAITED = PLAIN.replace("def work", "async def work").replace("retries=1", "concurrency=1")


@pytest.mark.parametrize("text", [PLAIN, AWAITED], ids=["processes", "async"])
def test_the_run_ends_and_keeps_what_is_finished(job: JobFolder, text: str) -> None:
    job.write(text)
    ended = job.run("--jobs", "1")
    assert ended.code == 7
    assert "The filesystem is read-only" in ended.told[0]
    (job.path / "mended").touch()
    again = job.run("--json")
    assert (again.code, again.json["items"]["quarantined"]) == (0, 0)
    assert [row["number"] for row in job.rows()] == list(range(20))
    # What was finished before it, within the same quarter of a second, is not done again.
    assert [job.calls().count(str(number)) for number in range(7)] == [1] * 7


def test_the_item_in_hand_is_named(job: JobFolder) -> None:
    assert "item in hand: 7" in job.write(PLAIN).run("--jobs", "1").told[0]


HOLDS_FILES = """
held = []

def work(number):
    held.append(open("job.py"))
    return {"number": number}

pipeline = batten.from_range(300).map(work).write_parquet("out/")
"""


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(job: JobFolder) -> None:
    """A shell's usual limit is 1,024, of half a million that are allowed."""
    ended = run_limited(job, "ulimit -S -n 256")
    assert (ended.returncode, len(job.rows())) == (0, 300), ended.stderr


def test_running_out_of_open_files_is_the_machines(job: JobFolder) -> None:
    ended = run_limited(job, "ulimit -n 100")
    assert ended.returncode == 7, ended.stderr
    assert "ulimit -n" in ended.stderr
    assert "0 quarantined" in job.batten("show", "out").out


def run_limited(job: JobFolder, limit: str) -> subprocess.CompletedProcess[str]:
    """By a shell, since this process itself may have more files open."""
    job.write(HOLDS_FILES)
    limited = ["sh", "-c", f'{limit}; exec "$@"', "sh"]
    return subprocess.run(
        [*limited, sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1"],
        cwd=job.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_limit_is_as_before_when_the_run_is_over(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, limits[1]))
    try:
        seen = []
        batten.from_range(1).map(
            lambda n: seen.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) or {"n": n}
        ).write_parquet(tmp_path / "out").run(executor="serial")
        assert seen[0] > 500
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (500, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_threads_fail_alike(tmp_path: Path) -> None:
    def work(number: int) -> dict[str, int]:
        if number == 5:
            raise of_system("ENOSPC")
        return {"number": number, "thread": threading.get_ident()}

    pipeline = batten.from_range(10).map(work).write_parquet(tmp_path / "out")
    with pytest.raises(StorageError, match="disk is full"):
        pipeline.run(executor="threads", jobs=2)


WHOLE = textwrap.dedent("""
    import errno, os
    import pyarrow as pa

    def report(rows):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    pipeline = batten.from_tables(rows="rows.csv").apply(report).write_csv("report.csv")
""")


def test_whole_tables_fail_alike(job: JobFolder) -> None:
    (job.path / "rows.csv").write_text("a,b\n1,2\n")
    ended = job.write(WHOLE).run()
    assert (ended.code, "quota is used up" in ended.told[0]) == (7, True), ended.err
