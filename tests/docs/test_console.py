"""The commands in documents run, and print what is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "docs" / "console.py"
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```console" in path.read_text()
]

pytestmark = needs_tracing


def check(document: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CONSOLE, "--check", document], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_print_what_is_shown(document: Path) -> None:
    done = check(document)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_a_document_that_shows_something_else_is_found(tmp_path: Path) -> None:
    document = tmp_path / "wrong.md"
    document.write_text("```console\n$ echo right\nwrong\n$ echo 1 s\n2 s\n```\n")

    done = check(document)

    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["-wrong", "+right"]
    assert "wrong" in document.read_text()


def test_output_that_is_not_shown_is_found(tmp_path: Path) -> None:
    document = tmp_path / "silent.md"
    document.write_text("```console\n$ echo more\n```\n")

    assert check(document).returncode == 1
