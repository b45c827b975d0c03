"""A small tree, and processes that die in the middle of changing it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import batten
from batten.storage.changing import steps

CONTENTS = {"old.md": "old", "pages": None, "pages/one.md": "one", "pages/two.md": "two"}


@dataclass(frozen=True)
class Notes:
    """A tree of files, `root`, and what a test wants to know of it."""

    root: Path

    @property
    def control(self) -> Path:
        return self.root.with_name(self.root.name + ".batten") / "tree"

    @property
    def journal(self) -> Path:
        return self.control / "JOURNAL"

    def contents(self) -> dict[str, str | None]:
        """Every file below the root with its text; None for a folder."""
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_text()
            for path in sorted(self.root.rglob("*"))
        }

    def left_over(self) -> list[str]:
        """What lies in the control folder beyond its folders and the lock."""
        found = [path for path in self.control.rglob("*") if path.is_file()]
        return [str(path.relative_to(self.control)) for path in found if path.name != "lock"]

    def staged(self) -> list[Path]:
        return sorted((self.control / "staging").iterdir())

    def evidence(self) -> list[Path]:
        """The files that were set aside."""
        return sorted(path for path in (self.control / "set-aside").rglob("*") if path.is_file())

    def recover(self) -> None:
        with batten.transaction(self.root):
            pass

    def kill_at(
        self,
        step: str,
        name: str,
        work: Callable[[batten.Transaction], None] = lambda change: None,
        *,
        moment: str = "before",
        token: str = "",
    ) -> None:
        """A process of its own enters a transaction, does the work, and is killed at the first
        durable step of that kind on a file whose name ends so."""

        def observe(now: str, what: str, where: str) -> None:
            if (now, what) == (moment, step) and where.endswith(name):
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            try:
                steps.observer = observe
                with batten.transaction(self.root, token=token) as change:
                    work(change)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    root = tmp_path / "notes"
    root.mkdir()
    for name, text in CONTENTS.items():
        if text is None:
            (root / name).mkdir()
        else:
            (root / name).write_text(text)
    return Notes(root)
