"""Starts tracers: each a Python of its own, or a fork of a template that has imported all."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from batten.crashlab.tracing.exchange import REPORT
from batten.errors import BattenError

_TRACER = "batten.crashlab.tracing.tracer"
_TEMPLATE = "batten.crashlab.tracing.template"
_ERRORS_BYTES_MAX = 100_000


class TracingError(BattenError):
    """Nothing could be traced, so nothing is known about the command."""


def execute_tracer(folder: Path, timeout_seconds: float) -> None:
    """Carry out the request in the folder with a new Python, which executes the command."""
    # -P: the current folder must not shadow what the tracer imports.
    command = [sys.executable, "-P", "-m", _TRACER, str(folder)]
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _did_not_end() from error
    if process.returncode != 0:
        raise _failed(process.stderr)


class Template:
    """A process that has imported modules, and forks a tracer for each request; the tracer forks
    the program instead of executing it. See `template`; `imports` may name what is no module.

    `environment` is its own, and that of the programs unless they get another. `trace` may be
    called from several threads; the thread that makes a template must outlive it, and who leaves
    it kills all it started.
    """

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str] | None) -> None:
        self.environment = dict(os.environ if environment is None else environment)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            handle = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", _TEMPLATE, str(os.getpid()), str(handle)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=self.environment,
                pass_fds=[handle],
                # The current folder must not shadow what it imports; beside Python are no modules.
                cwd=os.path.dirname(sys.executable),
                start_new_session=True,
            )
        self._socket.send("\n".join(imports).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Kill it, and all that it started."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def trace(self, folder: Path, timeout_seconds: float) -> None:
        """Carry out the request in the folder."""
        # The tracer holds the other end as long as it lives.
        ending, held = os.pipe()
        try:
            try:
                socket.send_fds(self._socket, [os.fsencode(folder)], [held])
            except ConnectionError as error:
                raise self._failed() from error
            finally:
                os.close(held)
            waiting = select.poll()
            waiting.register(ending, select.POLLIN)
            if not waiting.poll(timeout_seconds * 1000):
                self._process.kill()
                raise _did_not_end()
        finally:
            os.close(ending)
        if not (folder / REPORT).exists():
            raise self._failed()

    def _failed(self) -> TracingError:
        return _failed(os.pread(self._errors.fileno(), _ERRORS_BYTES_MAX, 0))


def _did_not_end() -> TracingError:
    return TracingError("The tracer did not end, and was killed with all it traced.")


def _failed(errors: bytes) -> TracingError:
    return TracingError("The tracer failed.", safe=errors.decode(errors="replace"))
