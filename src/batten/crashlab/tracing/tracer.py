"""The tracing process: starts a command, watches its whole tree, and carries out one fault.

It is a process of its own, since waiting for traced processes means waiting for any child, and
since the kernel kills the whole tree when it dies. It is started as
`python -m batten.crashlab.tracing.tracer FOLDER`, or forked by a `template`; it exchanges a
`Request` and a `Report` with the laboratory through files.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from batten.crashlab.faults import (
    Fail,
    Fault,
    KillAfter,
    KillBefore,
    Meanwhile,
    TearWrite,
    Victims,
)
from batten.crashlab.tracing import ptrace
from batten.crashlab.tracing.exchange import (
    ERRORS,
    MEANWHILE_ERRORS,
    MEANWHILE_OUTPUT,
    OUTPUT,
    REPORT,
    REQUEST,
    Request,
    TraceReport,
)
from batten.crashlab.tracing.held_files import close_files
from batten.crashlab.tracing.patience import TICK_SECONDS, Patience, look_at
from batten.crashlab.tracing.programs import ProgramBegins, find_program
from batten.crashlab.tracing.ptrace import Registers, Stop, libc
from batten.crashlab.tracing.seccomp import build_filter, install_filter
from batten.crashlab.tracing.system_calls import TABLE, SystemCall, TracedCall, classify
from batten.crashlab.tracing.tracee import Patch, halve_write, observe
from batten.model.value_class import value_class

_PR_SET_PDEATHSIG = 1
_ANY_CHILD = -1
_WAIT_FOR_THREADS_TOO = 0x40000000


@value_class
class _Pending:
    """What remains to be done when a call that was let go on comes back."""

    call: TracedCall
    victims: Victims = Victims.NOBODY
    error: int | None = None
    patch: Patch | None = None


class Tracer:
    """Follows one command to the end of its last process."""

    def __init__(self, request: Request, folder: Path, *, is_forking: bool) -> None:
        self._request = request
        self._folder = folder
        self._is_forking = is_forking
        self._report = TraceReport()
        self._processes: dict[int, int] = {}  # each live thread's process
        self._ordinals: dict[int, int] = {}
        self._pending: dict[int, _Pending] = {}
        self._candidates = 0
        self._driver = 0
        self._meanwhile: int | None = None
        self._held: tuple[int, _Pending] | None = None
        self._is_ending = False
        self._is_past = False
        self._patience: Patience | None = None

    def run(self) -> TraceReport:
        """Run the command to the end of its last process. Raises `ProgramBegins` in processes that
        are programs, where those of this Python are forked."""
        os.chdir(self._request.working_folder)
        self._start()
        return self._report

    def _start(self) -> None:
        """Seize a new process and let it become the command, under the filter."""
        program = build_filter(row for row in TABLE if row.kind in self._request.kinds)
        gate, opener = os.pipe()
        complaints, complainer = os.pipe()
        self._driver = os.fork()
        if self._driver == 0:
            self._become_command(program, gate, complainer)
        os.close(complainer)
        try:
            ptrace.seize(self._driver)
        except OSError as error:
            os.kill(self._driver, signal.SIGKILL)
            os.waitpid(self._driver, 0)
            self._report.obstacle = f"ptrace is not permitted: {error.strerror}"
            return
        self._see(self._driver)
        os.write(opener, b"!")
        self._follow()
        self._report.obstacle = os.read(complaints, 4096).decode() or None

    def _become_command(self, program: bytes, gate: int, complainer: int) -> NoReturn:
        try:
            os.read(gate, 1)
            install_filter(program)
            self._become(self._request.command, OUTPUT, ERRORS)
        except Exception as error:  # noqa: BLE001 - told, and the last of this process
            os.write(complainer, f"cannot start {self._request.command[0]}: {error}".encode())
            os._exit(127)

    def _become(self, command: tuple[str, ...], output: str, errors: str) -> NoReturn:
        """Be the command, in a session of its own. Raises `OSError` or `ProgramBegins`."""
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(self._folder / output, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(self._folder / errors, os.O_WRONLY | os.O_CREAT), 2)
        program = find_program(command) if self._is_forking else None
        if program is not None:
            # What executing would undo of what this module has done; signals that Python ignores
            # are what they would be.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            close_files()
            os.environ.clear()
            os.environ.update(self._request.environment)
            raise ProgramBegins(program)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        os.execvpe(command[0], command, self._request.environment)

    def _follow(self) -> None:
        tick = min(TICK_SECONDS, self._request.timeout_seconds)
        self._patience = Patience(self._request.timeout_seconds, tick)
        signal.signal(signal.SIGALRM, self._on_tick)
        signal.setitimer(signal.ITIMER_REAL, tick, tick)
        while True:
            try:
                thread, status = os.waitpid(_ANY_CHILD, _WAIT_FOR_THREADS_TOO)
            except ChildProcessError:
                break
            if thread == self._meanwhile:
                self._report.meanwhile_returncode = os.waitstatus_to_exitcode(status)
                self._meanwhile = None
                self._release()
            elif os.WIFSTOPPED(status):
                self._see(thread)
                # A thread may be killed while it is looked at; its end is reported next.
                with suppress(ProcessLookupError, FileNotFoundError):
                    self._on_stop(thread, Stop.of(status))
            else:
                self._on_end(thread, status)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _see(self, thread: int) -> None:
        if thread not in self._processes:
            process = _process_of(thread)
            self._processes[thread] = process
            self._ordinals.setdefault(process, len(self._ordinals))

    def _on_end(self, thread: int, status: int) -> None:
        self._processes.pop(thread, None)
        self._pending.pop(thread, None)
        if thread == self._driver:
            self._report.returncode = os.waitstatus_to_exitcode(status)

    def _on_stop(self, thread: int, stop: Stop) -> None:
        if self._is_ending:
            os.kill(thread, signal.SIGKILL)
        elif stop.event == ptrace.EVENT_SECCOMP:
            self._on_call(thread)
        elif stop.is_system_call:
            self._on_call_end(thread)
        elif stop.is_group_stop:
            ptrace.remain_stopped(thread)
        elif stop.event:
            ptrace.resume(thread)
        else:
            ptrace.resume(thread, deliver=stop.signal)

    def _on_call(self, thread: int) -> None:
        if self._is_past:
            ptrace.resume(thread)
            return
        registers = Registers(thread)
        row = classify(registers.number, registers.arguments)
        touched = None
        if row is not None and row.kind in self._request.kinds:
            touched = observe(thread, row, registers.arguments, self._is_watched)
        if row is None or touched is None:
            ptrace.resume(thread)
            return
        call = TracedCall(
            number=len(self._report.calls) + 1,
            process=self._ordinals[self._processes[thread]],
            name=row.name,
            kind=row.kind,
            path=touched.path,
            target=touched.target,
            size=touched.size,
        )
        self._report.calls.append(call)
        self._disturb(thread, call, row, registers)

    def _is_watched(self, path: str) -> bool:
        return any(path == each or path.startswith(each + "/") for each in self._request.folders)

    def _due_fault(self, call: TracedCall) -> Fault | None:
        fault = self._request.fault
        if fault is None or not fault.applies_to(call):
            return None
        self._candidates += 1
        self._is_past = not self._request.is_watched_on and fault.is_last(self._candidates)
        if not fault.hits(self._candidates):
            return None
        self._report.hits.append(call.number)
        return fault

    def _disturb(
        self, thread: int, call: TracedCall, row: SystemCall, registers: Registers
    ) -> None:
        """Carry out the fault where it is due, and let the caller go on if it still lives."""
        pending = _Pending(call=call)
        match self._due_fault(call):
            case KillBefore(victims=victims):
                if self._kill(victims, thread):
                    return
            case KillAfter(victims=victims):
                pending = replace(pending, victims=victims)
            case TearWrite(victims=victims):
                patch = halve_write(thread, row, registers, call.size)
                pending = replace(pending, victims=victims, patch=patch)
            case Fail(error=error, is_done=is_done):
                pending = replace(pending, error=error)
                if not is_done:
                    registers.skip_call()
            case Meanwhile(command=command, victims=victims):
                self._held = (thread, pending)
                self._kill(victims, thread)
                self._start_meanwhile(command)
                return
            case _:
                pass
        self._go_on(thread, pending)

    def _go_on(self, thread: int, pending: _Pending) -> None:
        self._pending[thread] = pending
        ptrace.resume(thread, until_call_ends=True)

    def _on_call_end(self, thread: int) -> None:
        pending = self._pending.pop(thread)
        registers = Registers(thread)
        if pending.patch is not None:
            pending.patch.undo(thread)
        if pending.error is not None:
            registers.set_result(-pending.error)
        if self._kill(pending.victims, thread):
            return
        position = pending.call.number - 1
        self._report.calls[position] = replace(pending.call, result=registers.result)
        ptrace.resume(thread)

    def _kill(self, victims: Victims, caller: int) -> bool:
        """Kill them, the driver first, since it would react; true where the caller is one."""
        alive = set(self._processes.values())
        chosen = {
            Victims.TREE: alive,
            Victims.DRIVER: alive & {self._driver},
            Victims.CALLER: {self._processes[caller]},
            Victims.NOBODY: set(),
        }[victims]
        self._is_ending = self._is_ending or victims is Victims.TREE
        for process in sorted(chosen, key=lambda each: each != self._driver):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return self._processes[caller] in chosen

    def _start_meanwhile(self, command: tuple[str, ...]) -> None:
        tracer = os.getpid()
        self._meanwhile = os.fork()
        if self._meanwhile == 0:
            try:
                die_with_parent(tracer)
                self._become(command, MEANWHILE_OUTPUT, MEANWHILE_ERRORS)
            except Exception:  # noqa: BLE001 - told by the status, and the last of this process
                os._exit(127)

    def _release(self) -> None:
        if self._held is not None and not self._is_ending:
            with suppress(ProcessLookupError):
                self._go_on(*self._held)
        self._held = None

    def _on_tick(self, _signal: int, _frame: object) -> None:
        threads = dict(self._processes)
        if self._meanwhile is not None:
            threads[self._meanwhile] = self._meanwhile
        if self._patience is None or not self._patience.is_over(look_at(threads)):
            return
        self._report.is_timed_out = True
        self._is_ending = True
        for process in set(threads.values()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _process_of(thread: int) -> int:
    """The process that the thread belongs to; the thread itself where it is gone already."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{thread}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    return thread


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that started it dies."""
    ptrace.check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def trace(folder: Path, *, parent: int | None = None) -> None:
    """Carry out the request in the folder, and die with `parent`, or with the laboratory. Raises
    `ProgramBegins`, with a parent, in processes that are programs."""
    request: Request = pickle.loads((folder / REQUEST).read_bytes())
    die_with_parent(request.laboratory if parent is None else parent)
    report = Tracer(request, folder, is_forking=parent is not None).run()
    (folder / REPORT).write_bytes(pickle.dumps(report))


if __name__ == "__main__":
    trace(Path(sys.argv[1]))
