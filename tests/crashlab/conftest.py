"""Toy programs to disturb."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

MakeScript = Callable[[str], list[str]]


@pytest.fixture
def script(tmp_path: Path) -> MakeScript:
    """Makes a command of the text of a Python program, which starts fast."""

    def make(text: str) -> list[str]:
        path = tmp_path / f"script{len(list(tmp_path.glob('script*')))}.py"
        path.write_text("import os, sys\n" + textwrap.dedent(text))
        return [sys.executable, "-I", "-S", str(path)]

    return make


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """The folder that is watched, beside things that are not."""
    folder = tmp_path / "watched"
    folder.mkdir()
    return folder
