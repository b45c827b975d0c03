"""Kill a command at random moments and run it again until it is done; needs no tracing.

Where a sweep places a kill at each system call, this one lands anywhere, at full speed.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import IO

from batten.model.value_class import value_class

_POLL_SECONDS = 0.01
_MARK = "CRASHLAB_ATTEMPT"
"""In the environment of a command, and so of all that it starts, whatever sessions they make."""


class Victim(StrEnum):
    """Who is killed, always with SIGKILL."""

    TREE = "the driver and everything it started"
    DRIVER = "the driver alone"
    WORKER = "one process that the driver started"


@value_class
class Attempt:
    """A run of the command. `killed` counts the processes that were killed after `delay_seconds`
    (a worker as soon as there is one): none when the run had ended by then. `target` is None for
    undisturbed runs."""

    target: Victim | None
    delay_seconds: float
    killed: int
    returncode: int
    stdout: str
    stderr: str


@value_class
class KilledRuns:
    """All attempts in order; the last was done. `survivors` counts processes of any attempt that
    had still not ended `patience_seconds` after the last one, and were killed then."""

    seed: int
    attempts: tuple[Attempt, ...]
    survivors: int


class NotDoneError(Exception):
    """The command hung, or was not done although it was left alone."""


@value_class
class _Launch:
    command: Sequence[str]
    environment: Mapping[str, str] | None
    working_folder: Path | None
    timeout_seconds: float


def run_with_random_kills(
    command: Sequence[str],
    *,
    kills: int,
    delay_seconds_max: float,
    seed: int,
    targets: Sequence[Victim] = tuple(Victim),
    done_codes: frozenset[int] = frozenset({0}),
    environment: Mapping[str, str] | None = None,
    working_folder: Path | None = None,
    timeout_seconds: float = 60.0,
    patience_seconds: float = 10.0,
) -> KilledRuns:
    """Run the command until it is done, killing it in up to the first `kills` attempts.

    Attempts follow each other at once: where only the driver is killed, its workers may still be
    alive when the next begins, as after a real crash. An attempt that nothing was killed in must
    be done, or `NotDoneError` is raised.
    """
    sys.stderr.write(f"random kills: seed {seed}\n")
    chooser = random.Random(seed)
    launch = _Launch(
        command=command,
        environment=environment,
        working_folder=working_folder,
        timeout_seconds=timeout_seconds,
    )
    marks: list[bytes] = []
    attempts: list[Attempt] = []
    try:
        while not attempts or attempts[-1].returncode not in done_codes:
            if attempts and not attempts[-1].killed:
                raise NotDoneError(f"left alone, it ended so: {attempts[-1]} (seed {seed})")
            target = chooser.choice(targets) if len(attempts) < kills else None
            delay = chooser.uniform(0, delay_seconds_max)
            attempts.append(_attempt(launch, target, delay, chooser, marks))
            marks[:] = _living(marks)
    except BaseException:
        _end_all(marks, patience_seconds=0)
        raise
    survivors = _end_all(marks, patience_seconds=patience_seconds)
    return KilledRuns(seed=seed, attempts=tuple(attempts), survivors=survivors)


def _attempt(
    launch: _Launch,
    target: Victim | None,
    delay_seconds: float,
    chooser: random.Random,
    marks: list[bytes],
) -> Attempt:
    environment = dict(os.environ if launch.environment is None else launch.environment)
    environment[_MARK] = secrets.token_hex(8)
    mark = f"{_MARK}={environment[_MARK]}".encode()
    marks.append(mark)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            cwd=launch.working_folder,
            start_new_session=True,
        )
        killed = 0
        if target is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay_seconds)
            if target is Victim.WORKER:
                _wait_for_worker(process, mark, launch.timeout_seconds)
            killed = _kill(process, mark, target, chooser)
        try:
            process.wait(launch.timeout_seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise NotDoneError(f"still running after the death of: {target}") from error
        return Attempt(
            target=target,
            delay_seconds=delay_seconds,
            killed=killed,
            returncode=process.returncode,
            stdout=_text(output),
            stderr=_text(errors),
        )


def _kill(
    driver: subprocess.Popen[bytes], mark: bytes, target: Victim, chooser: random.Random
) -> int:
    """Kill what the target names; how many that was."""
    if driver.poll() is not None:
        return 0
    if target is Victim.DRIVER:
        driver.kill()
        return 1
    members = _find_marked(mark)
    if target is Victim.TREE:
        # The group at one stroke, so that none of it sees another die; then who has left it.
        os.killpg(driver.pid, signal.SIGKILL)
        _kill_marked(mark)
        return len(members)
    workers = [process for process in members if process != driver.pid]
    if not workers:
        return 0
    with suppress(ProcessLookupError):
        os.kill(chooser.choice(workers), signal.SIGKILL)
    return 1


def _wait_for_worker(driver: subprocess.Popen[bytes], mark: bytes, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while driver.poll() is None and time.monotonic() < deadline:
        if any(process != driver.pid for process in _find_marked(mark)):
            return
        time.sleep(_POLL_SECONDS)


def _kill_marked(mark: bytes) -> None:
    while members := _find_marked(mark):
        for process in members:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _end_all(marks: Sequence[bytes], *, patience_seconds: float) -> int:
    """Wait for all to end; kill what has not ended by then, and count it."""
    deadline = time.monotonic() + patience_seconds
    remaining = _living(marks)
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = _living(remaining)
    survivors = sum(len(_find_marked(mark)) for mark in remaining)
    for mark in remaining:
        _kill_marked(mark)
    return survivors


def _living(marks: Sequence[bytes]) -> list[bytes]:
    return [mark for mark in marks if _find_marked(mark)]


def _find_marked(mark: bytes) -> list[int]:
    """The processes with the mark that have not ended, in the order of their numbers."""
    marked = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        # Of a process that has ended and waits to be reaped, nothing can be read.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                marked.append(int(entry.name))
    return sorted(marked)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
