"""Cases of fuzzing in processes: one does a block of them and ends."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import resource
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from batten.crashlab.fuzzing.place import MEMORY_BYTES_MAX, WAITING_SECONDS_MAX, Tally, Workplace

_HUNG_SECONDS = 2 * WAITING_SECONDS_MAX
"""So long after it was begun, a call has not even been ended by the signal that should."""
_NO_CASE = -1
_BROKEN = 86
"""The exit code where no call failed, but this program."""
_SLOT = struct.Struct("=qqd")


class Unpickled(BaseException):
    """Something was about to be unpickled that others may have written."""


def _refuse_pickle(*_: object, **__: object) -> NoReturn:
    raise Unpickled


class Block:
    """A process at work on cases from `start` to `stop`. What it is about stands in shared memory,
    what it did in a file when it ends."""

    def __init__(self, root: Path, place: Callable[[], Workplace], start: int, stop: int) -> None:
        self.root, self.start, self.stop = root, start, stop
        self._slot = mmap.mmap(-1, mmap.PAGESIZE)
        self._was_hung = False
        self._tell(_NO_CASE)
        self._result = root.with_suffix(".result")
        self._result.unlink(missing_ok=True)
        self.pid = os.fork()
        if not self.pid:
            self._work(place)

    def _tell(self, case: int) -> None:
        self._slot[: _SLOT.size] = _SLOT.pack(case, 0, time.monotonic())

    def _work(self, make_place: Callable[[], Workplace]) -> None:
        status = _BROKEN
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (2 * MEMORY_BYTES_MAX, 2 * MEMORY_BYTES_MAX))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            place = make_place()
            os.chdir(place.root)
            # Or the parser of words looks for translations of each of its messages, each time.
            os.environ["LANGUAGE"] = "C"
            # Others may write to every folder here, so that no pickle may be used.
            pickle.loads = pickle.load = _refuse_pickle
            tally = Tally()
            for case in range(self.start, self.stop):
                place.run_case(case, tally, self._tell)
                if place.is_spoilt:
                    self.stop = case + 1  # the rest is for another process, in a place of its own
                    break
            data = json.dumps([self.stop, tally.encode().decode()]).encode()
            self._result.write_bytes(data)
            status = 0
        except BaseException:  # noqa: BLE001 - told, and the process ends
            traceback.print_exc()
        finally:
            os._exit(status)

    def end_if_hung(self) -> None:
        case, _, since = _SLOT.unpack(self._slot[: _SLOT.size])
        if case != _NO_CASE and time.monotonic() - since > _HUNG_SECONDS:
            self._was_hung = True
            os.kill(self.pid, signal.SIGKILL)

    def finish(self, status: int) -> tuple[int, Tally]:
        """From where to go on, and what was done."""
        if status == 0:
            stop, encoded = json.loads(self._result.read_bytes())
            return stop, Tally.decode(encoded.encode())
        if status == _BROKEN << 8:
            raise RuntimeError("the fuzzing itself failed, as shown above")
        case, _, _ = _SLOT.unpack(self._slot[: _SLOT.size])
        case = max(case, self.start)
        return case + 1, Tally(cases=1, failures=[(case, self._tell_end(status))])

    def _tell_end(self, status: int) -> str:
        if self._was_hung:
            return f"the process hung for {_HUNG_SECONDS:.0f} seconds, and was killed"
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return f"the process died of {name}, which this program did not send"
        return f"the process ended with {os.waitstatus_to_exitcode(status)}"


def wait_for(blocks: Iterable[Block]) -> tuple[Block, int]:
    """The first that ends, and its status."""
    while True:
        for block in blocks:
            found, status = os.waitpid(block.pid, os.WNOHANG)
            if found:
                return block, status
            block.end_if_hung()
        time.sleep(0.02)
