"""The driver's end of the nursery: the process between the driver and its workers.

The nursery forks workers when asked, kills and reaps them, and tells of it (`forking`). It
is either a fork of the driver, so that workers have all that the driver has loaded, or a fresh
interpreter, so that they have nothing of the driver's threads.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from batten.executors.base import Work
from batten.executors.marks import MarkTable
from batten.executors.printing.last_line import last_line
from batten.executors.processes.foreign_threads import fork
from batten.executors.processes.forking import MESSAGE, Ask, Tell, live
from batten.executors.processes.worker import run_worker


@dataclass(frozen=True)
class News:
    """What the nursery told."""

    kind: Tell
    slot: int
    value: int


class NurseryGoneError(Exception):
    """The nursery has ended, and the workers with it."""


Begin = Callable[[socket.socket, socket.socket], int]
"""Begins the process of the nursery; returns its pid. The first end of the socket is the driver's,
the second that of the nursery."""


class Nursery:
    """The driver's end. Flush what is buffered before a nursery is forked."""

    def __init__(self, begin: Begin) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # No signal may reach the new process before it has replaced the driver's handlers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = begin(self._socket, theirs)
        except OSError:
            self._socket.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def fork_worker(self, slot: int, tasks: int, results: int) -> None:
        """Ask for a worker, which gets these ends of its pipes."""
        self._ask(Ask.FORK, slot, [tasks, results])

    def kill_worker(self, slot: int) -> None:
        """Ask to kill the worker and all that it started; nothing happens where it has ended."""
        self._ask(Ask.KILL, slot, [])

    def receive(self) -> Iterator[News]:
        """What has been told until now; does not block. Raises `NurseryGoneError` at the end."""
        while True:
            try:
                data = self._socket.recv(MESSAGE.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError as error:
                raise NurseryGoneError from error
            if not data:
                raise NurseryGoneError
            kind, slot, value = MESSAGE.unpack(data)
            yield News(Tell(kind), slot, value)

    def stop(self) -> None:
        """Kill all workers and wait until they and the nursery have ended."""
        # Closing alone is not enough: another process may hold a copy of the socket.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            return

    def _ask(self, kind: Ask, slot: int, pipes: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [MESSAGE.pack(kind, slot, 0)], pipes)
        except ConnectionError as error:
            raise NurseryGoneError from error


def fork_nursery(
    work: Work, marks: MarkTable, limit_seconds: float | None, stdout_to_stderr: bool
) -> Begin:
    """A nursery that has all that the driver has in memory when it is begun."""

    def run(slot: int, tasks: int, results: int) -> NoReturn:
        mark, record = marks.mark(slot, limit_seconds), marks.records[slot]
        run_worker(work, mark, record, tasks, results)

    def begin(drivers: socket.socket, control: socket.socket) -> int:
        driver = os.getpid()
        pid = fork()
        if pid == 0:
            drivers.close()
            live(
                control,
                run,
                driver,
                stdout_to_stderr=stdout_to_stderr,
                last=last_line.shown,
            )
        return pid

    return begin
