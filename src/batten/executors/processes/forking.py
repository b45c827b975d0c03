"""The nursery: a process between the driver and its workers.

It holds nothing of what the driver opens later, so neither do workers that are forked later. It is
a session of its own, so what kills the driver's process group leaves it alive. When the driver has
ended, it kills every worker with all that the worker started (decision 0007).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from time import monotonic
from types import FrameType
from typing import NoReturn

from batten.errors import StorageError
from batten.executors.printing.last_line import ShownLine
from batten.executors.printing.output import OutputRelay
from batten.executors.processes.foreign_threads import fork
from batten.executors.processes.parents import end_with_parent
from batten.executors.randomness import find_before_fork
from batten.executors.stopping import outlive_signals
from batten.garbage import keep_for_good

MESSAGE = struct.Struct("=iqq")
_LAST_REAP_SECONDS_MAX = 5.0
"""How long the nursery waits for killed workers; one that hangs in the kernel is left to init."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


class Ask(IntEnum):
    """What the driver asks, for a slot."""

    FORK = 0
    KILL = 1


class Tell(IntEnum):
    """What the nursery tells of a slot: the worker's pid, an errno, a wait status."""

    BORN = 0
    UNBORN = 1
    ENDED = 2
    FAILED = 3
    """The nursery itself ends, for want of something of the machine's."""


RunWorker = Callable[[int, int, int], NoReturn]
"""Called in a new worker with its slot, the pipe of its tasks and the pipe of its results."""


def kill_group(pid: int) -> None:
    """Kill all processes of the group; nothing happens where there are none."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def live(
    control: socket.socket,
    run_worker: RunWorker,
    driver: int,
    *,
    stdout_to_stderr: bool,
    last: ShownLine | None,
) -> NoReturn:
    """Be the nursery. All signals are held back when it begins. Never returns: where it was forked,
    the stack above belongs to the driver."""
    try:
        with lacking_told(control):
            if os.getsid(0) != os.getpid():
                os.setsid()
            outlive_signals()
            _leave_input()
            # Orphans of dead workers come here and are reaped, also where nobody is a proper init.
            _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            find_before_fork()
            keep_for_good()
            relays = _make_relays(stdout_to_stderr, last)
            process = _NurseryProcess(control, run_worker, driver, relays)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            process.run()
    except BaseException:  # noqa: BLE001 - the last of this process
        traceback.print_exc()
    finally:
        os._exit(0)


@contextmanager
def lacking_told(control: socket.socket) -> Iterator[None]:
    """What the machine lacks for a nursery is told to the driver, which ends the run for it."""
    try:
        yield
    except (OSError, StorageError) as error:
        # So `poll` says that it may watch no more files than a process may have open.
        number = errno.EMFILE if error.errno == errno.EINVAL else error.errno
        with suppress(ConnectionError):
            control.send(MESSAGE.pack(Tell.FAILED, 0, number or 0))


def _leave_input() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)


def _make_relays(stdout_to_stderr: bool, last: ShownLine | None) -> dict[int, OutputRelay]:
    """What stands for the descriptors of workers' standard output and error."""
    errors = OutputRelay(2, last)
    if stdout_to_stderr:
        return {1: errors, 2: errors}
    return {1: OutputRelay(1, last), 2: errors}


class _NurseryProcess:
    def __init__(
        self,
        control: socket.socket,
        run_worker: RunWorker,
        driver: int,
        outputs: Mapping[int, OutputRelay],
    ) -> None:
        self._control = control
        self._outputs = outputs
        self._relays = list(dict.fromkeys(outputs.values()))
        self._run_worker = run_worker
        self._driver = driver
        self._slots: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _only_wake)
        # If a copy of the driver's socket lives on, this notices that the driver has ended.
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGCHLD), 0, 0, 0)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)

    def run(self) -> None:
        """Serve until the driver has ended, then leave nothing behind."""
        try:
            with lacking_told(self._control):
                while os.getppid() == self._driver and self._serve():
                    pass
        finally:
            self._end_all()

    def _serve(self) -> bool:
        """Wait for a request, an end or what workers print; False when the driver has closed its
        end."""
        watched = [relay.watched for relay in self._relays]
        for descriptor, mask in watched:
            self._poll.register(descriptor, mask)
        ready = {handle for handle, _ in self._poll.poll()}
        for relay, (descriptor, _) in zip(self._relays, watched, strict=True):
            self._poll.unregister(descriptor)
            if descriptor in ready:
                relay.serve()
        if self._wake_read in ready:
            self._reap()
        return self._control.fileno() not in ready or self._obey()

    def _obey(self) -> bool:
        try:
            data, pipes, _, _ = socket.recv_fds(self._control, MESSAGE.size, 2)
        except ConnectionError:
            return False
        if not data:
            return False
        kind, slot, _ = MESSAGE.unpack(data)
        if kind == Ask.FORK:
            self._fork(slot, pipes)
        else:
            for pid in [pid for pid, each in self._slots.items() if each == slot]:
                kill_group(pid)
        return True

    def _fork(self, slot: int, pipes: list[int]) -> None:
        try:
            if len(pipes) != 2:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            for pipe in pipes:
                os.set_inheritable(pipe, False)
            nursery = os.getpid()
            pid = fork()
            if pid == 0:
                self._become_worker(nursery, slot, pipes)
            self._slots[pid] = slot
            _ensure_group(pid)
            self._tell(Tell.BORN, slot, pid)
        except OSError as error:
            self._tell(Tell.UNBORN, slot, error.errno or 0)
        finally:
            for pipe in pipes:
                os.close(pipe)

    def _become_worker(self, nursery: int, slot: int, pipes: list[int]) -> NoReturn:
        try:
            _ensure_group(0)
            end_with_parent(nursery)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            for descriptor, relay in self._outputs.items():
                relay.become_sink(descriptor)
            for relay in self._relays:
                relay.leave()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._run_worker(slot, pipes[0], pipes[1])
        finally:
            os._exit(1)

    def _reap(self) -> None:
        os.read(self._wake_read, 4096)
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            slot = self._slots.pop(ended.si_pid, None)
            if slot is not None:
                # Before the worker is reaped: until then no other group can have its number.
                kill_group(ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            if slot is not None:
                self._tell(Tell.ENDED, slot, status)

    def _tell(self, kind: Tell, slot: int, value: int) -> None:
        try:
            self._control.send(MESSAGE.pack(kind, slot, value))
        except ConnectionError:
            return  # The driver has ended; the next turn of the loop sees it.

    def _end_all(self) -> None:
        for pid in self._slots:
            kill_group(pid)
        self._poll.unregister(self._control)
        until = monotonic() + _LAST_REAP_SECONDS_MAX
        while self._slots and monotonic() < until:
            if self._poll.poll(1000 * max(0.0, until - monotonic())):
                self._reap()
        for relay in self._relays:
            relay.finish(until)


def _ensure_group(pid: int) -> None:
    """Give the worker a group of its own; called on both sides, as either may come first."""
    try:
        os.setpgid(pid, 0)
    except (ProcessLookupError, PermissionError):
        return


def _only_wake(number: int, frame: FrameType | None) -> None:
    """A signal with a handler writes to the wake-up pipe."""
