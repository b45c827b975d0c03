"""A command of the user's that is run when a run has ended, whichever way (decision 0113)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from batten.cli.output import flush_output, tell
from batten.cli.shown_errors import as_expected, describe, end_with
from batten.executors.processes.parents import end_with_parent
from batten.executors.stopping import STOPPING
from batten.printable import blot

if TYPE_CHECKING:
    from batten.cli.jobs.outcome import RunOutcome

ON_END_SECONDS = 60.0
"""The command may take so long."""

GRACE_SECONDS = 5.0
"""After SIGTERM it has so long until it is killed."""

_POLL_SECONDS = 0.2
_STANDARD_ERROR = 2


def run_then(command: str, run: Callable[[], RunOutcome], *, seconds: float, is_json: bool) -> int:
    """Run, show how it ended, and then start the command. Gives the exit code of the run."""
    folder = os.getcwd()
    try:
        exit_code, told = run()
        flush_output()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  shown, none is hidden
        exit_code = end_with(error, is_json=is_json)
        told = describe(as_expected(error))
    reason = _start(command, exit_code, told, folder, seconds)
    if reason:
        tell(f"--on-end: the command {reason}. That changes nothing of how the run ended.")
    return exit_code


def _start(command: str, exit_code: int, told: dict[str, Any], folder: str, seconds: float) -> str:
    """Start it and wait for its end; gives how it failed, or nothing."""
    environment = {
        **os.environ,
        "BATTEN_STATUS": str(told.get("status", "")),
        "BATTEN_EXIT_CODE": str(exit_code),
        "BATTEN_OUTPUT": str(told.get("path", "")),
        "BATTEN_RUN": str(told.get("run", "")),
    }
    with _signals_heard() as heard:
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                # Standard output is the run's own.
                stdout=_STANDARD_ERROR,
                process_group=0,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return f"can't be started: {blot(str(error))}"
        return _wait(process, json.dumps(told).encode(), heard, seconds)


@contextmanager
def _signals_heard() -> Iterator[list[int]]:
    """The signals that ask to stop, as they come. They are passed on to the command, and don't end
    this process, whose run has ended already."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    previous: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(process: subprocess.Popen[bytes], report: bytes, heard: list[int], seconds: float) -> str:
    """Hand over the report, and wait. Each signal that was heard is passed on. At the time limit,
    and if it does not heed a signal, it is ended with all that it has started."""
    ends_at = time.monotonic() + seconds
    kills_at: float | None = None
    reason = ""
    passed = 0
    handed_over: bytes | None = report
    while True:
        try:
            process.communicate(handed_over, timeout=_POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            handed_over = None  # It goes on with what it was given the first time.
        if process.poll() is not None:
            break
        now = time.monotonic()
        while passed < len(heard):
            name = signal.Signals(heard[passed]).name
            reason = reason or f"was stopped by {name}"
            _signal_group(process, heard[passed])
            kills_at = kills_at or now + GRACE_SECONDS
            passed += 1
        if kills_at is None and now >= ends_at:
            reason = f"was not done after {seconds:g} s, and was stopped"
            _signal_group(process, signal.SIGTERM)
            kills_at = now + GRACE_SECONDS
        if kills_at is not None and now >= kills_at:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            # What it started and set apart may hold its standard input for ever.
            break
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    if reason:
        return reason
    if process.returncode < 0:
        return f"was killed by {signal.Signals(-process.returncode).name}"
    return f"ended with exit code {process.returncode}" if process.returncode else ""


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
