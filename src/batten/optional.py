"""Libraries that are imported only when a user asks for what they do."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from batten.errors import UsageError, usage_error


def import_optional(module: str, what_for: str) -> Any:
    """The module; raises `UsageError` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, what_for, str(error)) from error


def ensure_optional(module: str, what_for: str, *, package: str = "") -> None:
    """Raises the same where the module is not installed; imports nothing. `package` is the name of
    the package that has it, if it is another name."""
    if module not in sys.modules and importlib.util.find_spec(module) is None:
        raise _missing(module, what_for, "it is not installed", package)


def _missing(module: str, what_for: str, why: str, package: str = "") -> UsageError:
    return usage_error(
        f"{what_for} needs {module}, which can't be imported: {why}.",
        f"Install it: pip install {package or module}",
    )
