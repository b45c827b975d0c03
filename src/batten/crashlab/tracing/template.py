"""The process behind `starting.Template`: it imports modules once, and forks tracers when asked.

It has one thread of its own and no open files but its socket, so that a fork is what a new Python
would be after these imports. (Libraries may have threads: allocators and BLAS prepare theirs for a
fork.) A fork that is to be a program comes back to the bottom of the stack, `main`, and ends there
as every Python does (decision 0027).
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from batten.crashlab.tracing.held_files import list_open_files
from batten.crashlab.tracing.programs import Program, ProgramBegins
from batten.crashlab.tracing.tracer import die_with_parent, trace
from batten.garbage import keep_for_good

_IMPORTS_BYTES_MAX = 1 << 20
_PATH_BYTES_MAX = 4096


def main() -> None:
    laboratory, handle = map(int, sys.argv[1:])
    die_with_parent(laboratory)
    requests = socket.socket(fileno=handle)
    for name in requests.recv(_IMPORTS_BYTES_MAX).decode().splitlines():
        # What can't be imported by itself the programs import as they always do.
        with suppress(Exception):
            importlib.import_module(name)
    _check_forkable(handle)
    gc.collect()
    keep_for_good()
    program = _serve(requests)
    if program is not None:
        program.run()


def _check_forkable(handle: int) -> None:
    """A program would lack the threads, and be the second to use the files."""
    threads = [each.name for each in threading.enumerate()[1:]]
    files = [held for number, held in list_open_files().items() if number != handle]
    if threads or files:
        # Told before the socket is closed: who asks reads it then.
        sys.stderr.write(f"What was imported holds threads {threads} and files {files}.")
        sys.stderr.flush()
        sys.exit(1)


def _serve(requests: socket.socket) -> Program | None:
    """Fork a tracer for each request until there are no more. Gives a program in processes that
    are to be it."""
    template = os.getpid()
    while True:
        folder, handles, _, _ = socket.recv_fds(requests, _PATH_BYTES_MAX, 1)
        if not folder:
            return None
        _reap()
        if os.fork() == 0:
            requests.close()
            os.setsid()
            os.set_inheritable(handles[0], False)
            return _trace(Path(os.fsdecode(folder)), template)
        os.close(handles[0])


def _trace(folder: Path, template: int) -> Program:
    try:
        trace(folder, parent=template)
        os._exit(0)
    except ProgramBegins as beginning:
        return beginning.program
    except BaseException:  # noqa: BLE001 - told to the laboratory, and the last of this process
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _reap() -> None:
    """Forget the tracers that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
