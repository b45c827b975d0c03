"""Libraries that are imported only when a user asks for what they do."""

from __future__ import annotations

import importlib
from typing import Any

from batten.errors import UsageError


def import_optional(module: str, what_for: str) -> Any:
    """The module; raises `UsageError` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{what_for} needs {module}, which can't be imported: {error}.",
            safe="Nothing was read or written.",
            next=f"Install it: pip install {module}",
        ) from error
