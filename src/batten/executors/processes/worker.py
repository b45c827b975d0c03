"""A worker process: takes tasks from one pipe, answers on another, until it is killed."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from time import monotonic_ns
from typing import NoReturn

from batten.executors.base import IDLE, Mark, Work
from batten.executors.marks import ITEM, TASK, TASK_NANOSECONDS, SlotMark
from batten.executors.printing.output import hold_output
from batten.executors.processes.frames import read_header, read_payload, write_frame
from batten.executors.processes.replies import encode_error, encode_value
from batten.executors.randomness import seed_forked
from batten.executors.stopping import STOPPING, outlive_signals

_MEMORY_BLAME = 500
"""Added, of 1000, to what the kernel reckons when memory is out: a worker goes, not the driver."""


def run_worker(
    work: Work, mark: SlotMark, record: memoryview, tasks: int, results: int
) -> NoReturn:
    """Never returns, whatever `work` does: the stack above belongs to the driver."""
    status = 1
    try:
        _prepare(tasks, results)
        _serve(work, mark, record, tasks, results)
        status = 0
    except (EOFError, BrokenPipeError):
        status = 0
    except SystemExit as request:
        status = _find_status(request)
    except BaseException:  # noqa: BLE001 - the last of this process
        traceback.print_exc()
    finally:
        flush_output()
        os._exit(status)


def _serve(work: Work, mark: SlotMark, record: memoryview, tasks: int, results: int) -> None:
    while not mark.is_retired:
        header = read_header(tasks)
        started = monotonic_ns()
        record[TASK] = header.task_id
        kind, payload = _answer(work, mark, read_payload(tasks, header.length))
        record[ITEM] = IDLE
        record[TASK_NANOSECONDS] = monotonic_ns() - started
        flush_output()
        write_frame(results, header.task_id, kind, payload)


def _answer(work: Work, mark: Mark, payload: bytes) -> tuple[int, bytes]:
    try:
        return encode_value(work(pickle.loads(payload), mark))
    except Exception as error:  # noqa: BLE001 - the user's code
        return encode_error(error)


def _prepare(tasks: int, results: int) -> None:
    outlive_signals()
    hold_output()
    _take_memory_blame()
    seed_forked()

    def leave_pool() -> None:
        """In processes that the user's function forks: they can be ended, and have no pipe."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, tasks, inheritable=False)
        os.dup2(null, results, inheritable=False)
        os.close(null)
        admit_signals()

    def hold_signals() -> None:
        """So that one which comes just after the fork is not lost to the handler above."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def admit_signals() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    os.register_at_fork(
        before=hold_signals, after_in_parent=admit_signals, after_in_child=leave_pool
    )


def _take_memory_blame() -> None:
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            if int(file.read()) < _MEMORY_BLAME:
                file.seek(0)
                file.write(str(_MEMORY_BLAME))
    except OSError:
        return


def _find_status(request: SystemExit) -> int:
    """The exit status that Python itself would end with."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    sys.stderr.write(f"{request.code}\n")
    return 1


def flush_output() -> None:
    """Write out what is buffered, if that is possible."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
