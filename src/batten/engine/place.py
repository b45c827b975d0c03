"""Where the job file lies, while it is loaded: relative paths in it are relative to its folder."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path

job_folder: ContextVar[Path | None] = ContextVar("job_folder", default=None)


def current_folder() -> Path:
    """The folder of the job file that is being loaded, else the process's own."""
    return job_folder.get() or Path.cwd()


def show_path(path: Path) -> str:
    """The path as one would name it from the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("../..") else relative
