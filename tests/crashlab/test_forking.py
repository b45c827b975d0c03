"""A program that is forked from a template can't be told from one that was executed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import KillBefore, Meanwhile
from batten.crashlab.imports import watch_imports
from batten.crashlab.tracing.laboratory import (
    Traced,
    run_traced,
)
from batten.crashlab.tracing.starting import Template, TracingError

pytestmark = needs_tracing

PROBE = """
    import atexit, os, signal, sys, threading
    import json

    facts = {
        "argv": sys.argv, "name": __name__, "file": __file__, "path": sys.path,
        "folder": os.getcwd(), "environment": dict(os.environ), "flags": str(sys.flags),
        "descriptors": [each for each in range(3, 64) if os.path.exists(f"/proc/self/fd/{each}")],
        "files": [os.readlink(f"/proc/self/fd/{each}").rsplit("/", 1)[1] for each in range(3)],
        "handlers": [str(signal.getsignal(each)) for each in signal.valid_signals()],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "threads": len(threading.enumerate()), "mask": os.umask(0o22),
        "buffered": [sys.stdout.line_buffering, sys.stdout.encoding, sys.stdout.errors],
        "main": sys.modules["__main__"].__dict__ is globals(),
    }
    print(json.dumps(facts, indent=1))
    atexit.register(print, "and ends as it should")
"""

WRITES = """
    import os, sys
    os.mkdir("one")
    child = os.fork()
    if child == 0:
        os.mkdir("two")
        os._exit(0)
    os.waitpid(child, 0)
    with open("three", "w") as file:
        file.write("text")
    os.rename("three", "four")
"""

Run = Callable[..., Traced]


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> Iterator[Template]:
    monkeypatch.setenv("OF_THE_TEMPLATE", "set")
    with Template(["json", "threading", "no_such_module"], None) as made:
        yield made


@pytest.fixture
def program(watched: Path) -> Callable[[str], list[str]]:
    """Makes a command of the text of a program."""

    def make(text: str) -> list[str]:
        path = watched.parent / f"program{len(list(watched.parent.glob('program*')))}.py"
        path.write_text(textwrap.dedent(text))
        return [sys.executable, str(path)]

    return make


MakeProgram = Callable[[str], list[str]]


@pytest.mark.parametrize("as_module", [False, True])
def test_a_program_finds_what_it_finds_when_it_is_executed(
    template: Template, program: MakeProgram, watched: Path, as_module: bool
) -> None:
    command = [*program(PROBE), "a word", "--option"]
    if as_module:
        command = [sys.executable, "-m", Path(command[1]).stem, *command[2:]]
    folder = watched.parent
    forked = run_traced(command, folders=[], working_folder=folder, template=template)
    executed = run_traced(
        command, folders=[], working_folder=folder, environment=template.environment
    )
    assert (forked.returncode, forked.stderr) == (0, "")
    assert forked.stdout == executed.stdout
    assert forked.stdout.endswith("and ends as it should\n")


def test_an_installed_command_is_such_a_program(template: Template, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("batten")), "diagnose", "nothing", "--json"]
    forked = run_traced(command, folders=[], working_folder=tmp_path, template=template)
    executed = run_traced(command, folders=[], working_folder=tmp_path)
    assert (forked.returncode, forked.stdout) == (executed.returncode, executed.stdout)
    assert executed.returncode == 10


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit('a word')", 1),
        ("raise ValueError('unexpected')", 1),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os._exit(5)", 5),
        ("threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()", 0),
    ],
)
def test_it_ends_as_it_does_when_it_is_executed(
    template: Template, program: MakeProgram, ending: str, code: int
) -> None:
    command = program(f"import os, signal, sys, threading, time\nprint('begun')\n{ending}")
    forked = run_traced(command, folders=[], template=template)
    executed = run_traced(command, folders=[])
    assert (forked.returncode, forked.stdout) == (executed.returncode, executed.stdout)
    assert forked.returncode == code
    assert forked.stderr.splitlines()[-1:] == executed.stderr.splitlines()[-1:]


def test_the_same_calls_are_recorded(
    template: Template, program: MakeProgram, watched: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    command = program(WRITES)
    forked = run_traced(command, folders=[watched], working_folder=watched, template=template)
    executed = run_traced(command, folders=[other], working_folder=other)
    assert str(forked.calls).replace(str(watched), str(other)) == str(executed.calls)
    assert len(forked.calls) == 5


def test_faults_hit_it(template: Template, program: MakeProgram, watched: Path) -> None:
    listing = program("""
        import os, signal
        print(sorted(os.listdir(".")), signal.getsignal(signal.SIGALRM).name)
    """)
    held = run_traced(
        program(WRITES),
        folders=[watched],
        working_folder=watched,
        template=template,
        fault=Meanwhile(2, command=tuple(listing)),
    )
    assert held.returncode == 0
    assert held.meanwhile is not None
    assert (held.meanwhile.returncode, held.meanwhile.stdout) == (0, "['one'] SIG_DFL\n")
    killed = run_traced(
        program("import os\nos.mkdir('five')\nos.mkdir('six')"),
        folders=[watched],
        working_folder=watched,
        template=template,
        fault=KillBefore(2),
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in watched.iterdir()) == ["five", "four", "one", "two"]


@pytest.mark.parametrize("command", [["/bin/true"], [sys.executable, "-I", "-c", ""], ["no-such"]])
def test_what_is_no_program_of_this_python_is_refused(
    template: Template, command: list[str]
) -> None:
    with pytest.raises(TracingError, match="can't be forked"):
        run_traced(command, folders=[], template=template)


def test_what_would_not_outlive_a_fork_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: MakeProgram
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "holds_a_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    (tmp_path / "holds_a_file.py").write_text("import os\nos.open('/dev/zero', os.O_RDONLY)")
    for name, evidence in (("holds_a_thread", "Thread-1"), ("holds_a_file", "/dev/zero")):
        with Template([name], None) as template, pytest.raises(TracingError) as refused:
            run_traced(program("pass"), folders=[], template=template)
        assert evidence in str(refused.value.safe)


def test_all_die_with_the_laboratory(program: MakeProgram, watched: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = program(f"""
        import os, signal
        fifo = os.open({str(fifo)!r}, os.O_WRONLY)
        os.fork()
        signal.alarm(60)
        os.write(fifo, b"alive")
        while True: signal.pause()
    """)
    laboratory = program(f"""
        from pathlib import Path
        from batten.crashlab.tracing.laboratory import run_traced
        from batten.crashlab.tracing.starting import Template
        with Template([], None) as template:
            run_traced({command!r}, folders=[Path({str(watched)!r})], template=template)
    """)
    with subprocess.Popen(laboratory) as running, fifo.open("rb", 0) as lives:
        alive = b""
        while len(alive) < len(b"alive" * 2):
            alive += lives.read(len(b"alive")) or b""
        running.kill()
        # The end of the pipe: every writer is gone.
        assert select.select([lives], [], [], 30)[0]
        assert lives.read() == b""


def test_imports_are_found_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: MakeProgram
) -> None:
    package = tmp_path / "found" / "a_package"
    package.mkdir(parents=True)
    for name in ("__init__", "used", "unused", "used_by_a_child"):
        (package / f"{name}.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)
    command = program("""
        import os, shelve
        import a_package.used
        child = os.fork()
        if child == 0:
            import a_package.used_by_a_child
            os._exit(0)
        os.waitpid(child, 0)
    """)
    _, found = watch_imports(command, tmp_path, None, 60)
    assert [name for name in found if name.startswith("a_package")] == [
        "a_package",
        "a_package.used",
        "a_package.used_by_a_child",
    ]
    assert "shelve" in found
