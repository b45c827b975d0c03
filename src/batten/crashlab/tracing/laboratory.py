"""Run a finished command under ptrace, without its help: record, kill, tear, fail.

    run = run_traced(
        ["batten", "run", "job.py"],
        folders=[output, control],          # what to watch: calls on paths in them count
        fault=KillBefore(7),                # see `faults`; None only records
    )
    run.returncode                          # of the driver; below zero: killed by that signal
    run.calls                               # the calls that touched the folders, in order
    run.hit                                 # the call that the fault hit, or None
    [call.path for call in run.calls if call.kind is Kind.SYNC]

`kinds` chooses what counts: `CHANGING` (default: what changes names, bytes or locks, and syncs),
`ALL`, or any set of `Kind`. The fewer, the faster. All processes that the command starts are
followed, whatever sessions and groups they make; the call returns when the last has ended, or
kills all of them after `timeout_seconds` (`is_timed_out`). Time in which they waited for a busy
processor does not count. If this process dies, they die.

A path that passes through a symbolic link is recognised only where the link is part of a folder's
path as given. Programs under the tracer cannot gain privileges (set-user-ID has no effect).

    sweep(experiment, workspace, faults=[KillBefore, partial(Fail, error=errno.ENOSPC)], seed=1)

in `sweeping` does this at every call, with reruns and a check; `random_kills` needs no tracing.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from batten.crashlab.faults import Fault
from batten.crashlab.tracing import exchange
from batten.crashlab.tracing.exchange import Request, TraceReport
from batten.crashlab.tracing.programs import find_program
from batten.crashlab.tracing.ptrace import find_platform_obstacle
from batten.crashlab.tracing.starting import Template, TracingError, execute_tracer
from batten.crashlab.tracing.system_calls import CHANGING, CallKind, TracedCall
from batten.model.value_class import value_class

_GRACE_SECONDS = 10.0
_OVERRUN = 60
"""Of a tracer that does not end itself, however busy the machine is: so many times as long."""


@value_class
class CommandEnd:
    """How an untraced command ended."""

    returncode: int
    stdout: str
    stderr: str


@value_class
class Traced:
    """What a traced command did. `hits` are the calls that the fault hit, in order; `meanwhile` is
    what became of the command of a `Meanwhile`."""

    command: tuple[str, ...]
    fault: Fault | None
    returncode: int
    calls: tuple[TracedCall, ...]
    hits: tuple[TracedCall, ...]
    stdout: str
    stderr: str
    is_timed_out: bool
    meanwhile: CommandEnd | None

    @property
    def hit(self) -> TracedCall | None:
        return self.hits[0] if self.hits else None

    @property
    def was_triggered(self) -> bool:
        return bool(self.hits)


def run_traced(
    command: Sequence[str],
    *,
    folders: Sequence[Path],
    fault: Fault | None = None,
    kinds: frozenset[CallKind] = CHANGING,
    environment: Mapping[str, str] | None = None,
    working_folder: Path | None = None,
    timeout_seconds: float = 60.0,
    template: Template | None = None,
    is_watched_on: bool = True,
) -> Traced:
    """Run the command to the end of its whole tree; see the module.

    Unless it `is_watched_on`, the calls after the last that the fault may hit are not told, which
    is faster.

    With a template the command must be one of this Python. Its environment is then the template's,
    or another where the modules that are imported already need not know of that.
    Raises `TracingError` if tracing is not possible or the command cannot be started.
    """
    obstacle = find_platform_obstacle()
    if obstacle is not None:
        raise TracingError(f"Tracing {obstacle}.")
    if template is not None and find_program(command) is None:
        raise TracingError(f"{command[0]} is no program of this Python, and can't be forked.")
    if environment is None:
        environment = os.environ if template is None else template.environment
    request = Request(
        laboratory=os.getpid(),
        command=tuple(command),
        folders=_spellings(folders),
        kinds=kinds,
        fault=fault,
        environment=dict(environment),
        working_folder=os.path.abspath(working_folder or os.curdir),
        timeout_seconds=timeout_seconds,
        is_watched_on=is_watched_on,
    )
    with tempfile.TemporaryDirectory(prefix="crashlab-") as name:
        folder = Path(name)
        report = _trace(request, folder, template)
        if report.obstacle is not None or report.returncode is None:
            raise TracingError(f"Nothing was traced: {report.obstacle}.")
        meanwhile = None
        if report.meanwhile_returncode is not None:
            meanwhile = CommandEnd(
                returncode=report.meanwhile_returncode,
                stdout=_text(folder / exchange.MEANWHILE_OUTPUT),
                stderr=_text(folder / exchange.MEANWHILE_ERRORS),
            )
        return Traced(
            command=request.command,
            fault=fault,
            returncode=report.returncode,
            calls=tuple(report.calls),
            hits=tuple(report.calls[number - 1] for number in report.hits),
            stdout=_text(folder / exchange.OUTPUT),
            stderr=_text(folder / exchange.ERRORS),
            is_timed_out=report.is_timed_out,
            meanwhile=meanwhile,
        )


def _trace(request: Request, folder: Path, template: Template | None) -> TraceReport:
    (folder / exchange.REQUEST).write_bytes(pickle.dumps(request))
    trace = execute_tracer if template is None else template.trace
    trace(folder, _OVERRUN * request.timeout_seconds + _GRACE_SECONDS)
    report: TraceReport = pickle.loads((folder / exchange.REPORT).read_bytes())
    return report


def _spellings(folders: Sequence[Path]) -> tuple[str, ...]:
    """Each folder as it was given and as the kernel spells it."""
    given = (os.path.abspath(folder) for folder in folders)
    return tuple({spelling for path in given for spelling in (path, os.path.realpath(path))})


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


@cache
def find_tracing_obstacle() -> str | None:
    """Why commands cannot be traced here, found by trying, or None."""
    try:
        run_traced([sys.executable, "-I", "-S", "-c", ""], folders=[])
    except TracingError as error:
        return str(error)
    return None


def is_tracing_possible() -> bool:
    """Whether `run_traced` works on this machine; `find_tracing_obstacle` says why not."""
    return find_tracing_obstacle() is None
