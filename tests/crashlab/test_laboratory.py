"""The tracer sees, kills, tears and fails exactly the calls that it is told to."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import Fail, KillAfter, KillBefore, Meanwhile, TearWrite, Victims
from batten.crashlab.tracing.laboratory import (
    Traced,
    run_traced,
)
from batten.crashlab.tracing.starting import TracingError
from batten.crashlab.tracing.system_calls import ALL, CallKind

pytestmark = needs_tracing

MakeScript = Callable[[str], list[str]]

ATOMIC = """
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else ".")
    file = os.open("new", os.O_CREAT | os.O_WRONLY)
    os.write(file, b"0123456789")
    os.fsync(file)
    os.close(file)
    os.rename("new", "final")
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
"""


def names(run: Traced) -> list[tuple[str, str]]:
    return [(call.name, Path(call.path).name) for call in run.calls]


def test_changing_calls_are_recorded_in_order(script: MakeScript, watched: Path) -> None:
    run = run_traced(script(ATOMIC), folders=[watched], working_folder=watched)

    assert (run.returncode, run.stderr) == (0, "")
    assert names(run) == [
        ("openat", "new"),
        ("write", "new"),
        ("fsync", "new"),
        ("rename", "new"),
        ("fsync", "watched"),
    ]
    assert [call.number for call in run.calls] == [1, 2, 3, 4, 5]
    assert {call.process for call in run.calls} == {0}
    write, rename = run.calls[1], run.calls[3]
    assert (write.size, write.result, write.kind) == (10, 10, CallKind.WRITE)
    assert rename.target == str(watched / "final")
    assert not run.was_triggered


def test_all_kinds_are_recorded_when_asked(script: MakeScript, watched: Path) -> None:
    (watched / "file").write_bytes(b"12345")
    command = script("""
        os.stat("file"), os.listdir(".")
        file = os.open("file", os.O_RDONLY)
        os.read(file, 3), os.close(file)
    """)
    run = run_traced(command, folders=[watched], working_folder=watched, kinds=ALL)

    kinds = [call.kind for call in run.calls if call.path == str(watched / "file")]
    assert kinds == [CallKind.STAT, CallKind.OPEN_TO_READ, CallKind.READ, CallKind.CLOSE]
    assert CallKind.LIST in {call.kind for call in run.calls if call.path == str(watched)}
    assert not run_traced(command, folders=[watched], working_folder=watched).calls


def test_only_the_watched_folders_count(script: MakeScript, watched: Path, tmp_path: Path) -> None:
    command = script(f"""
        os.mkdir("{tmp_path}/watched2")
        os.mkdir("{watched}/../watched/../elsewhere")
        os.rename("{tmp_path}/elsewhere", "{watched}/moved in")
        sys.stdout.write("text"); sys.stdout.flush()
        os.mkdir("relative", dir_fd=os.open("{watched}", os.O_RDONLY))
        os.rmdir("{watched}/relative")
    """)
    run = run_traced(command, folders=[watched])

    assert names(run) == [("rename", "elsewhere"), ("mkdirat", "relative"), ("rmdir", "relative")]
    assert run.stdout == "text"


def test_every_spelling_of_a_change_is_seen(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script("""
            import fcntl, mmap
            file = os.open("a", os.O_CREAT | os.O_RDWR)
            os.writev(file, [b"abc", b"defgh"])
            os.pwrite(file, b"xy", 0)
            os.ftruncate(file, 4096)
            os.posix_fallocate(file, 0, 4096)
            os.fdatasync(file)
            fcntl.flock(file, fcntl.LOCK_EX)
            mapping = mmap.mmap(file, 4096)
            mapping[0] = 1
            mapping.flush()
            copy = os.open("b", os.O_CREAT | os.O_WRONLY)
            os.sendfile(copy, file, 0, 10)
            os.copy_file_range(file, copy, 10)
            os.link("a", "c")
            os.link("a", "d", src_dir_fd=os.open(".", os.O_RDONLY))
            os.symlink("a", "e")
            os.replace("b", "c")
            os.chmod("a", 0o600)
            os.utime("a")
            os.truncate("a", 3)
            os.unlink("c")
            os.unlink("d", dir_fd=os.open(".", os.O_RDONLY))
        """),
        folders=[watched],
        working_folder=watched,
    )
    assert run.stderr == ""
    assert [call.name for call in run.calls] == [
        "openat",
        "writev",
        "pwrite64",
        "ftruncate",
        "fallocate",
        "fdatasync",
        "flock",
        "mmap",
        "msync",
        "openat",
        "sendfile",
        "copy_file_range",
        "link",
        "linkat",
        "symlink",
        "rename",
        "chmod",
        "utimensat",
        "truncate",
        "unlink",
        "unlinkat",
    ]
    assert [call.size for call in run.calls[1:5]] == [8, 2, 4096, 4096]
    assert {Path(call.path).name for call in run.calls if call.kind is CallKind.MAP} == {"a"}


def test_the_whole_tree_is_followed(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script("""
            import threading, subprocess
            def make(name): os.mkdir(name)
            threads = [threading.Thread(target=make, args=[f"thread{n}"]) for n in range(4)]
            for each in threads: each.start()
            for each in threads: each.join()
            child = os.fork()
            if child == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execv("/bin/mkdir", ["mkdir", "executed"])
                os.wait()
                os.mkdir("forked")
                os._exit(0)
            os.waitpid(child, 0)
            subprocess.run(["/bin/mkdir", "spawned"])
        """),
        folders=[watched],
        working_folder=watched,
    )
    assert run.stderr == ""
    seen = [(Path(call.path).name, call.process) for call in run.calls]
    assert sorted(seen[:4]) == [(f"thread{n}", 0) for n in range(4)]
    assert seen[4:] == [("executed", 2), ("forked", 1), ("spawned", 3)]


def test_signals_and_stops_work_as_usual(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script("""
            import select, signal
            signal.signal(signal.SIGUSR1, lambda *_: os.mkdir("handled"))
            os.kill(os.getpid(), signal.SIGUSR1)
            listen, tell = os.pipe()
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
                os.write(tell, b"!")
                os.mkdir("continued")
                os._exit(5)
            assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
            assert select.select([listen], [], [], 0.1) == ([], [], [])
            os.mkdir("seen stopped")
            os.kill(child, signal.SIGCONT)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            os.kill(os.getpid(), signal.SIGTERM)
        """),
        folders=[watched],
        working_folder=watched,
    )
    assert run.stderr == ""
    assert [Path(call.path).name for call in run.calls] == ["handled", "seen stopped", "continued"]
    assert run.returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("kind", [KillBefore, KillAfter])
def test_a_kill_falls_exactly_before_or_after_its_call(
    script: MakeScript, watched: Path, number: int, kind: type[KillBefore] | type[KillAfter]
) -> None:
    run = run_traced(script(ATOMIC), folders=[watched], working_folder=watched, fault=kind(number))
    calls_done = number if kind is KillAfter else number - 1

    assert run.returncode == -signal.SIGKILL
    assert len(run.calls) == number
    assert run.hit == run.calls[-1]
    assert run.hit.result is None
    content = {path.name: path.read_bytes() for path in watched.iterdir()}
    expected = [{}, {"new": b""}, *[{"new": b"0123456789"}] * 2, *[{"final": b"0123456789"}] * 2]
    assert content == expected[calls_done]


def test_a_fault_counts_only_its_kinds_and_paths(script: MakeScript, watched: Path) -> None:
    command = script("""
        for name in ("a.txt", "b.dat", "c.txt", "d.txt"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY)), os.rename(name, "x" + name)
    """)
    fault = KillBefore(2, kinds=frozenset({CallKind.RENAME}), path="*.txt")
    run = run_traced(command, folders=[watched], working_folder=watched, fault=fault)

    assert run.hit is not None
    assert run.hit.path == str(watched / "c.txt")
    assert sorted(os.listdir(watched)) == ["c.txt", "xa.txt", "xb.dat"]


TWO_PROCESSES = """
    listen, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.mkdir("of the child")
        os.read(listen, 1)
        os.mkdir("of the child, later")
        os._exit(0)
    os.close(listen)
    status = os.waitpid(child, 0)[1]
    os.mkdir(f"of the driver, after {os.waitstatus_to_exitcode(status)}")
"""


def test_the_caller_alone_can_be_killed(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script(TWO_PROCESSES),
        folders=[watched],
        working_folder=watched,
        fault=KillBefore(1, victims=Victims.CALLER),
    )
    assert run.returncode == 0
    assert os.listdir(watched) == ["of the driver, after -9"]


def test_the_driver_alone_can_be_killed(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script(TWO_PROCESSES),
        folders=[watched],
        working_folder=watched,
        fault=KillBefore(1, victims=Victims.DRIVER),
    )
    assert run.returncode == -signal.SIGKILL
    assert sorted(os.listdir(watched)) == ["of the child", "of the child, later"]


def test_killing_the_tree_leaves_nobody(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script(TWO_PROCESSES), folders=[watched], working_folder=watched, fault=KillAfter(1)
    )
    assert run.returncode == -signal.SIGKILL
    assert os.listdir(watched) == ["of the child"]


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        ("os.write(file, b'0123456')", b"0123"),
        ("os.pwrite(file, b'0123', 2)", b"\0\x0001"),
        ("os.writev(file, [b'ab', b'cdefgh', b'ij'])", b"abcde"),
    ],
)
def test_a_torn_write_leaves_the_first_half(
    script: MakeScript, watched: Path, write: str, expected: bytes
) -> None:
    run = run_traced(
        script(f"file = os.open('file', os.O_CREAT | os.O_WRONLY)\nos.mkdir('x')\n{write}"),
        folders=[watched],
        working_folder=watched,
        fault=TearWrite(1),
    )
    assert run.returncode == -signal.SIGKILL
    assert (watched / "file").read_bytes() == expected
    assert run.hit is not None
    assert run.hit.kind is CallKind.WRITE


def test_a_write_can_be_short_without_a_death(script: MakeScript, watched: Path) -> None:
    run = run_traced(
        script("""
            import ctypes
            file = os.open("file", os.O_CREAT | os.O_WRONLY)
            class Buffer(ctypes.Structure):
                _fields_ = [("start", ctypes.c_char_p), ("length", ctypes.c_size_t)]
            buffers = (Buffer * 2)(Buffer(b"ab", 2), Buffer(b"cdefgh", 6))
            writev = ctypes.CDLL(None).writev
            print(writev(file, buffers, 2), writev(file, buffers, 2))
        """),
        folders=[watched],
        working_folder=watched,
        fault=TearWrite(1, victims=Victims.NOBODY),
    )
    assert run.stdout == "4 8\n"
    assert (watched / "file").read_bytes() == b"abcd" + b"abcdefgh"


THREE_DIRECTORIES = """
    for name in "abc":
        try:
            os.mkdir(name)
        except OSError as error:
            print(error.errno, end=" ")
        else:
            print(0, end=" ")
"""


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize(
    ("times", "failing"), [(1, [False, True, False]), (2, [False, True, True])]
)
def test_a_call_fails_with_the_errno_as_often_as_told(
    script: MakeScript, watched: Path, error: int, times: int, failing: list[bool]
) -> None:
    fault = Fail(2, error=error, times=times)
    run = run_traced(
        script(THREE_DIRECTORIES), folders=[watched], working_folder=watched, fault=fault
    )
    told = [error if fails else 0 for fails in failing]
    assert [int(each) for each in run.stdout.split()] == told
    assert [call.result for call in run.calls] == [-each for each in told]
    assert len(run.hits) == times
    made = [name for name, fails in zip("abc", failing, strict=True) if not fails]
    assert sorted(os.listdir(watched)) == made


def test_a_disk_can_stay_full(script: MakeScript, watched: Path) -> None:
    fault = Fail(2, error=errno.ENOSPC, times=None)
    run = run_traced(
        script(THREE_DIRECTORIES), folders=[watched], working_folder=watched, fault=fault
    )
    assert run.stdout == f"0 {errno.ENOSPC} {errno.ENOSPC} "


def test_a_failure_can_be_a_lie(script: MakeScript, watched: Path) -> None:
    fault = Fail(1, error=errno.EIO, is_done=True)
    run = run_traced(
        script(THREE_DIRECTORIES), folders=[watched], working_folder=watched, fault=fault
    )
    assert run.stdout == f"{errno.EIO} 0 0 "
    assert sorted(os.listdir(watched)) == ["a", "b", "c"]


def test_something_can_happen_while_a_call_is_held(script: MakeScript, watched: Path) -> None:
    listing = script("print(sorted(os.listdir('.'))); sys.exit(3)")
    fault = Meanwhile(
        1, kinds=frozenset({CallKind.MKDIR}), command=tuple(listing), victims=Victims.DRIVER
    )
    run = run_traced(script(TWO_PROCESSES), folders=[watched], working_folder=watched, fault=fault)
    assert run.returncode == -signal.SIGKILL
    assert run.meanwhile is not None
    assert (run.meanwhile.returncode, run.meanwhile.stdout) == (3, "[]\n")
    assert sorted(os.listdir(watched)) == ["of the child", "of the child, later"]


def test_a_tree_that_does_not_end_is_killed(script: MakeScript, watched: Path) -> None:
    command = script("""
        import signal
        os.fork()
        while True: signal.pause()
    """)
    run = run_traced(command, folders=[watched], timeout_seconds=0.3)

    assert run.is_timed_out
    assert run.returncode == -signal.SIGKILL


def test_the_tree_dies_with_the_laboratory(
    script: MakeScript, watched: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = script(f"""
        import signal
        fifo = os.open({str(fifo)!r}, os.O_WRONLY)
        os.fork()
        signal.alarm(60)
        os.write(fifo, b"alive")
        while True: signal.pause()
    """)
    program = (
        "from pathlib import Path; from batten.crashlab.tracing.laboratory import run_traced; "
        f"run_traced({command!r}, folders=[Path({str(watched)!r})])"
    )
    with (
        subprocess.Popen([sys.executable, "-c", program]) as laboratory,
        fifo.open("rb", 0) as lives,
    ):
        alive = lives.read(len(b"alive")) or b""
        alive += lives.read(len(b"alive")) or b""
        assert alive == b"alive" * 2
        laboratory.kill()
        # The end of the pipe: every writer is gone.
        assert select.select([lives], [], [], 30)[0]
        assert lives.read() == b""


def test_a_command_that_cannot_start_is_an_error(watched: Path) -> None:
    with pytest.raises(TracingError, match="no-such-program"):
        run_traced(["no-such-program"], folders=[watched])


def test_the_filter_stops_only_calls_whose_arguments_are_of_interest(watched: Path) -> None:
    # Without a tracer, a call at which the filter stops does not exist.
    program = """
import errno, mmap, os
from batten.crashlab.tracing.seccomp import build_filter, install_filter
from batten.crashlab.tracing.system_calls import TABLE, CallKind
rows = [row for row in TABLE if row.kind in (CallKind.OPEN_TO_WRITE, CallKind.MAP)]
file = os.open("file", os.O_CREAT | os.O_RDWR)
os.write(file, b"1")
install_filter(build_filter(rows))
def missing(call, *arguments):
    try: call(*arguments)
    except OSError as error: return error.errno == errno.ENOSYS
    return False
shared, private = mmap.MAP_SHARED, mmap.MAP_PRIVATE
print(
    missing(os.open, "file", os.O_RDONLY),
    missing(mmap.mmap, file, 1, private, mmap.PROT_WRITE),
    missing(mmap.mmap, file, 1, shared, mmap.PROT_READ),
    missing(os.open, "file", os.O_RDWR),
    missing(mmap.mmap, file, 1, shared, mmap.PROT_WRITE),
)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=watched, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "False", "False", "True", "True"], done.stderr
