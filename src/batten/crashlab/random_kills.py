"""Kill a command at random moments and run it again until it is done; needs no tracing.

Where a sweep places a kill at each system call, this one lands anywhere, at full speed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.01


class Target(StrEnum):
    """Who is killed, always with SIGKILL."""

    TREE = "the driver and everything it started"
    DRIVER = "the driver alone"
    WORKER = "one process that the driver started"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A run of the command. `killed` counts the processes that were killed after `delay_seconds`
    (a worker as soon as there is one): none when the run had ended by then. `target` is None for
    undisturbed runs."""

    target: Target | None
    delay_seconds: float
    killed: int
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class KilledRuns:
    """All attempts in order; the last was done. `survivors` counts processes of any attempt that
    had still not ended `patience_seconds` after the last one, and were killed then."""

    seed: int
    attempts: tuple[Attempt, ...]
    survivors: int


class NotDoneError(Exception):
    """The command hung, or was not done although it was left alone."""


@dataclass(frozen=True, kw_only=True)
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
    targets: Sequence[Target] = tuple(Target),
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
    sessions: list[int] = []
    attempts: list[Attempt] = []
    try:
        while not attempts or attempts[-1].returncode not in done_codes:
            if attempts and not attempts[-1].killed:
                raise NotDoneError(f"left alone, it ended so: {attempts[-1]} (seed {seed})")
            target = chooser.choice(targets) if len(attempts) < kills else None
            delay = chooser.uniform(0, delay_seconds_max)
            attempts.append(_attempt(launch, target, delay, chooser, sessions))
            sessions[:] = _living(sessions)
    except BaseException:
        _end_sessions(sessions, patience_seconds=0)
        raise
    survivors = _end_sessions(sessions, patience_seconds=patience_seconds)
    return KilledRuns(seed=seed, attempts=tuple(attempts), survivors=survivors)


def _attempt(
    launch: _Launch,
    target: Target | None,
    delay_seconds: float,
    chooser: random.Random,
    sessions: list[int],
) -> Attempt:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=launch.environment,
            cwd=launch.working_folder,
            start_new_session=True,
        )
        sessions.append(process.pid)
        killed = 0
        if target is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay_seconds)
            if target is Target.WORKER:
                _wait_for_worker(process, launch.timeout_seconds)
            killed = _kill(process, target, chooser)
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


def _kill(driver: subprocess.Popen[bytes], target: Target, chooser: random.Random) -> int:
    """Kill what the target names; how many that was."""
    if driver.poll() is not None:
        return 0
    if target is Target.DRIVER:
        driver.kill()
        return 1
    members = _living_members(driver.pid)
    if target is Target.TREE:
        # The group at one stroke, so that none of it sees another die; then who has left it.
        os.killpg(driver.pid, signal.SIGKILL)
        _kill_session(driver.pid)
        return len(members)
    workers = [process for process in members if process != driver.pid]
    if not workers:
        return 0
    with suppress(ProcessLookupError):
        os.kill(chooser.choice(workers), signal.SIGKILL)
    return 1


def _wait_for_worker(driver: subprocess.Popen[bytes], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while driver.poll() is None and time.monotonic() < deadline:
        if len(_living_members(driver.pid)) > 1:
            return
        time.sleep(_POLL_SECONDS)


def _kill_session(session: int) -> None:
    while members := _living_members(session):
        for process in members:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _end_sessions(sessions: Sequence[int], *, patience_seconds: float) -> int:
    """Wait for all to end; kill what has not ended by then, and count it."""
    deadline = time.monotonic() + patience_seconds
    remaining = _living(sessions)
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = _living(remaining)
    survivors = sum(len(_living_members(session)) for session in remaining)
    for session in remaining:
        _kill_session(session)
    return survivors


def _living(sessions: Sequence[int]) -> list[int]:
    """Those in which something lives; the number of another may come to mean something else."""
    return [session for session in sessions if _living_members(session)]


def _living_members(session: int) -> list[int]:
    """The processes of the session that have not ended, in the order of their numbers."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):
            # After the name, which may hold anything: state, parent, group, session.
            columns = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(columns[3]) == session and columns[0] not in (b"Z", b"X"):
                members.append(int(entry.name))
    return sorted(members)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
