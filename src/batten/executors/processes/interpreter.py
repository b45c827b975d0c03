"""A nursery that is a fresh interpreter, so that workers have nothing of the driver's threads.

It imports what all workers need and nothing of the job's; each worker then unpickles its work, and
with it loads the job (decision 0058).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.util import spawnv_passfds
from typing import Any, NoReturn

from batten.executors.base import Work
from batten.executors.marks import MarkTable
from batten.executors.printing.last_line import ShownLine, last_line
from batten.executors.processes.forking import lacking_told, live
from batten.executors.processes.nursery import Begin
from batten.executors.processes.terms import WorkerBirth
from batten.executors.processes.worker import run_worker
from batten.executors.randomness import seed_afresh
from batten.model.value_class import value_class

_BEGIN = (
    "import sys; handles = sys.argv[1:4]; sys.path[:] = sys.argv[4:]; "
    "from batten.executors.processes.interpreter import main; main(*map(int, handles))"
)


@value_class
class Setup:
    """What the interpreter is told. `work` is pickled; `modules` is what it imports before it forks
    workers."""

    driver: int
    slots: int
    limit_seconds: float | None
    stdout_to_stderr: bool
    last_line: int | None
    argv: Sequence[str]
    modules: Sequence[str]
    handles: Sequence[int]
    work: bytes


def begin_interpreter(
    work: Work, marks: MarkTable, limit_seconds: float | None, birth: WorkerBirth
) -> Begin:
    """A nursery that has nothing of what the driver has in memory, but the marks. Raises what
    pickling `work` raises."""
    setup = Setup(
        driver=os.getpid(),
        slots=len(marks.records),
        limit_seconds=limit_seconds,
        stdout_to_stderr=birth.stdout_to_stderr,
        last_line=last_line.shown.handle if last_line.shown is not None else None,
        argv=list(sys.argv),
        modules=birth.modules,
        handles=birth.handles,
        work=pickle.dumps(work, pickle.HIGHEST_PROTOCOL),
    )

    def begin(drivers: socket.socket, control: socket.socket) -> int:
        told = os.memfd_create("batten-setup", os.MFD_CLOEXEC)
        try:
            with open(told, "wb", closefd=False) as file:
                file.write(pickle.dumps(setup, pickle.HIGHEST_PROTOCOL))
            handles = [control.fileno(), marks.handle, told]
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
            words = [sys.executable, *flags, "-c", _BEGIN, *map(str, handles), *sys.path]
            shown = [] if setup.last_line is None else [setup.last_line]
            passed = [*handles, *shown, *setup.handles]
            return spawnv_passfds(os.fsencode(sys.executable), words, passed)
        finally:
            os.close(told)

    return begin


def main(control: int, marks: int, told: int) -> NoReturn:
    """What the interpreter does; all signals are held back."""
    with open(told, "rb") as file:
        file.seek(0)
        setup: Setup = pickle.load(file)
    sys.argv = list(setup.argv)
    shown = [] if setup.last_line is None else [setup.last_line]
    for handle in (control, marks, *shown, *setup.handles):
        os.set_inheritable(handle, False)
    nursery = socket.socket(fileno=control)
    with lacking_told(nursery):
        table = MarkTable.attach(marks, setup.slots)
        for module in setup.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        _live(nursery, table, setup)
    os._exit(0)


def _live(nursery: socket.socket, table: MarkTable, setup: Setup) -> NoReturn:
    work = _UnpickledWork(setup.work)

    def run(slot: int, tasks: int, results: int) -> NoReturn:
        mark, record = table.mark(slot, setup.limit_seconds), table.records[slot]
        run_worker(work, mark, record, tasks, results)

    live(
        nursery,
        run,
        setup.driver,
        stdout_to_stderr=setup.stdout_to_stderr,
        last=ShownLine(setup.last_line) if setup.last_line is not None else None,
    )


class _UnpickledWork:
    """The work. It is unpickled in the worker with its first task, so that an error there becomes
    an answer."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled
        self._work: Work | None = None

    def __call__(self, task: Any, mark: Any) -> Any:
        if self._work is None:
            work: Work = pickle.loads(self._pickled)
            self._work = work
            # The imports of this moment may have seeded generators, alike in each worker.
            seed_afresh()
        return self._work(task, mark)
