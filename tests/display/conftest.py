"""Programs of Python that run a job, as users start them: in a terminal, or with a log."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.terminals import watch_terminal

JOB = """
import sys
import batten


def measure(n):
    if n % 5 == 2:
        raise ValueError(f"no {n}")
    return {"n": n}


pipeline = batten.from_range(24).map(measure).options(batch_size=8).write_parquet("out")
"""

RunProgram = Callable[..., subprocess.CompletedProcess[str]]
Watch = Callable[..., tuple[int, str]]


@pytest.fixture
def program(tmp_path: Path) -> RunProgram:
    """Runs a program whose first lines are the job, with a guard around what follows."""

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        write(tmp_path, text)
        return subprocess.run(
            [sys.executable, *options, "program.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """The same in a terminal: its exit code, and all that the terminal got."""

    def run(text: str, **env: str) -> tuple[int, str]:
        write(tmp_path, text)
        code, told = watch_terminal([sys.executable, "program.py"], tmp_path, **env)
        return code, told.decode(errors="replace")

    return run


def write(folder: Path, text: str) -> None:
    body = textwrap.indent(textwrap.dedent(text), "    ")
    (folder / "program.py").write_text(f'{JOB}\nif __name__ == "__main__":\n{body}')


@pytest.fixture
def watch_command(tmp_path: Path) -> Watch:
    """Runs a command in a terminal: its exit code, and all that the terminal got."""

    def run(words: list[str], **env: str) -> tuple[int, str]:
        code, told = watch_terminal(words, tmp_path, **env)
        return code, told.decode(errors="replace")

    return run


@pytest.fixture
def show() -> Callable[[str], list[str]]:
    return show_screen


_OBEYED = re.compile(r"\r|\n|\x1b\[2K|\x1b\[[0-9;]*m|[^\r\n\x1b]+|.", re.DOTALL)


def show_screen(told: str) -> list[str]:
    """The lines of a terminal that got this, as far as batten moves its cursor. Raises for what
    batten never writes."""
    lines, column = [""], 0
    for piece in _OBEYED.findall(told):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            lines.append("")
        elif piece == "\x1b[2K":
            lines[-1] = ""
        elif piece == "\x1b":
            raise ValueError(f"an escape that batten never writes: {told!r}")
        elif not piece.startswith("\x1b"):
            before = lines[-1].ljust(column)
            lines[-1] = before[:column] + piece + before[column + len(piece) :]
            column += len(piece)
    return lines
