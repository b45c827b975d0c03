"""How a run ended that did not raise."""

from __future__ import annotations

from typing import Any, NamedTuple


class RunOutcome(NamedTuple):
    """The exit code, and the object that `--json` prints."""

    exit_code: int
    told: dict[str, Any]
