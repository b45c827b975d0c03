"""Which way to show a run fits where it is seen (decision 0105)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batten.errors import usage_error
from batten.run.progress import Progress, Silent

if TYPE_CHECKING:
    from batten.run.progress import Status

WantedProgress = Progress | Callable[["Status"], object] | bool | None
"""What users say of how a run is shown."""


def is_shown_by_itself(wanted: WantedProgress) -> bool:
    """Whether the way to show it is chosen here."""
    return wanted is None or wanted is True


def choose_display(wanted: WantedProgress = None) -> Progress:
    """What shows a run: as it is wanted, or as it fits standard error. Raises `UsageError`."""
    if wanted is False:
        return Silent()
    if wanted is None or wanted is True:
        return _choose()
    if all(callable(getattr(wanted, name, None)) for name in ("show", "note", "close")):
        from batten.display.guarded import GuardedProgress

        return GuardedProgress(wanted)  # type: ignore[arg-type]  # it was looked at just now
    if callable(wanted):
        from batten.display.guarded import CalledProgress, GuardedProgress

        return GuardedProgress(CalledProgress(wanted))
    raise usage_error(
        f"progress= is {_a(wanted)}, which shows nothing.",
        "Give False, a function that takes a batten.Status, or leave it out.",
    )


def _choose() -> Progress:
    from batten.display.bar import Bar, Lines

    if is_notebook():
        from batten.display.guarded import GuardedProgress
        from batten.display.notebook import find_notebook_bar

        bar = find_notebook_bar()
        return GuardedProgress(bar) if bar is not None else Lines(sys.stderr)
    is_terminal = _is_terminal() and os.environ.get("TERM") != "dumb"
    return Bar(sys.stderr) if is_terminal and _has_descriptor() else Lines(sys.stderr)


def _is_terminal() -> bool:
    """False where there is no standard error, or a closed one."""
    try:
        return sys.stderr.isatty()
    except (OSError, ValueError, AttributeError):
        return False


def _has_descriptor() -> bool:
    """Whether standard error is the system's own, not what stands for it."""
    try:
        return sys.stderr.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def is_notebook() -> bool:
    """Whether what is shown goes to a notebook: IPython runs this process as its kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _a(value: Any) -> str:
    return f"a {type(value).__name__}"
