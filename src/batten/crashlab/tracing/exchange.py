"""What the laboratory and its tracing process tell each other, as files of one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from batten.crashlab.faults import Fault
from batten.crashlab.tracing.system_calls import CallKind, TracedCall
from batten.model.value_class import value_class

REQUEST = "request"
REPORT = "report"
OUTPUT = "stdout"
ERRORS = "stderr"
MEANWHILE_OUTPUT = "meanwhile-stdout"
MEANWHILE_ERRORS = "meanwhile-stderr"


@value_class
class Request:
    """What to run and what to do to it; `laboratory` is the process that asks. Unless it
    `is_watched_on`, calls after the last that the fault may hit are not looked at."""

    laboratory: int
    command: tuple[str, ...]
    folders: tuple[str, ...]
    kinds: frozenset[CallKind]
    fault: Fault | None
    environment: Mapping[str, str]
    working_folder: str
    timeout_seconds: float
    is_watched_on: bool = True


@dataclass(kw_only=True)
class TraceReport:
    """What happened; `obstacle` says why nothing could be traced. A `returncode` below zero is
    the signal that ended the driver."""

    obstacle: str | None = None
    returncode: int | None = None
    calls: list[TracedCall] = field(default_factory=list)
    hits: list[int] = field(default_factory=list)
    is_timed_out: bool = False
    meanwhile_returncode: int | None = None
