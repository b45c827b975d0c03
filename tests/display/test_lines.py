"""Elsewhere than in a terminal a run is shown by lines, now and then; and Ctrl-C in a terminal has
its word."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.display.bar import LINE_SECONDS, Lines
from batten.run.progress import Status

RunProgram = Callable[..., subprocess.CompletedProcess[str]]
Show = Callable[[str], list[str]]


def status(seconds: float, done: int) -> Status:
    return Status(
        source=100,
        committed=done,
        staged=0,
        quarantined=1,
        executed=done,
        adopted=0,
        seconds=seconds,
        waits=("a server asks for patience",),
    )


def test_a_line_comes_after_so_many_seconds() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for tenth in range(300):
        lines.show(status(tenth / 10, tenth // 3))
    lines.close()
    told = stream.getvalue().splitlines()
    assert [line.split(" ")[0] for line in told] == ["33/100", "66/100"]
    assert LINE_SECONDS == 10
    for line, elapsed in zip(told, ("0:10", "0:20"), strict=True):
        assert f"  {elapsed}  ETA " in line
        assert line.endswith("1 quarantined  a server asks for patience")


def test_a_program_whose_errors_go_to_a_file_gets_lines(program: RunProgram) -> None:
    done = program(
        """
        from batten.display import bar
        bar.LINE_SECONDS = 0.0
        pipeline.run()
        """
    )
    assert done.returncode == 0
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if " items  " in line]
    assert lines
    assert lines[-1].startswith("24/24 items  100%")
    assert not {"\r", "\x1b"} & set(done.stderr)


JOB = """
import batten

def work(n):
    if n == 3:
        print("in hand", flush=True)
        open("gate").read()
    return {"n": n}

pipeline = batten.from_range(8).map(work).options(batch_size=2).write_parquet("out")
"""


class InTerminal:
    """A command that a terminal shows. Ctrl-C goes to all its processes, as a terminal sends it."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self._leader, follower = pty.openpty()
        self.told = ""
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(follower)

    def read_until(self, text: str) -> None:
        """Raises `EOFError` if the command ends before."""
        while text not in self.told:
            if not self._read():
                raise EOFError(self.told)

    def press(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._leader)
        return self.process.wait(timeout=60)

    def _read(self) -> bool:
        try:
            piece = os.read(self._leader, 65536)
        except OSError:
            return False
        self.told += piece.decode()
        return bool(piece)


@pytest.fixture
def begun(tmp_path: Path) -> InTerminal:
    """A run that has an item in hand until its gate is closed."""
    (tmp_path / "job.py").write_text(JOB)
    os.mkfifo(tmp_path / "gate")
    words = [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1"]
    begun = InTerminal(words, tmp_path)
    begun.read_until("in hand")
    return begun


def test_the_first_ctrl_c_lets_what_is_in_hand_end(
    begun: InTerminal, tmp_path: Path, show: Show
) -> None:
    gate = os.open(tmp_path / "gate", os.O_WRONLY)
    begun.press()
    begun.read_until("stopping: ")
    os.close(gate)
    assert begun.end() == 75
    lines = [line.strip() for line in show(begun.told)]
    assert "in hand" in lines
    (word,) = [line for line in lines if line.startswith("SIGINT")]
    assert "again" in word
    # The bar is gone, and each line stands by itself.
    assert [line for line in lines if line.startswith("[")] == []


def test_the_second_ctrl_c_ends_it_at_once(begun: InTerminal, tmp_path: Path, show: Show) -> None:
    gate = os.open(tmp_path / "gate", os.O_WRONLY)
    begun.press()
    begun.read_until("stopping: ")
    begun.press()
    assert begun.end() == 75
    os.close(gate)
    lines = [line.strip() for line in show(begun.told)]
    (word,) = [line for line in lines if line.startswith("Stopped at once")]
    assert word == (
        "Stopped at once by a second signal, SIGINT. What was finished is kept; run again."
    )
    assert [line for line in lines if line.startswith("[")] == []
