"""The workers of a run on Ray, as the run sees them: a process that keeps them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from batten.errors import usage_error
from batten.model.json_text import parse_json
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.optional import ensure_optional
from batten.run.telling.watching import BatchPublished, RunBegan, RunEnded, RunWatcher

if TYPE_CHECKING:
    from batten.run.progress import Progress, Status

ANSWER_SECONDS = 120.0
"""To connect, and to bring the code, may take so long."""
END_SECONDS = 30.0


@value_class
class RayPlan:
    """Where and how. `job` is relative to `working_dir`, which Ray brings to the nodes but for what
    it `excludes`. `words` are those of `batten work` after the job; `folder` is the current one.
    `workers` is 0 for as many as the nodes have room for."""

    address: str
    workers: int
    num_cpus: float
    num_gpus: float
    working_dir: str
    excludes: list[str]
    job: str
    words: list[str]
    folder: str


class RayWorkers(RunWatcher):
    """Starts them when the run holds its lock. Used as a context, it ends them."""

    def __init__(self, plan: RayPlan, progress: Progress) -> None:
        ensure_optional("ray", "--ray", package="'batten[ray]'")
        self._plan = plan
        self._progress = progress
        self._unread = b""
        self._is_held = self._has_ended = False

    def __enter__(self) -> RayWorkers:
        self._keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._connect()
        except BaseException:
            self._keeper.kill()  # It keeps nothing yet, and may hang.
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _connect(self) -> None:
        self._say(json.dumps(vars(self._plan)))
        told: dict[str, Any] = {}
        while not told:
            lines = self._read(ANSWER_SECONDS)
            told = lines[0] if lines else {"error": self._tell_silence()}
        if "error" in told:
            raise usage_error(
                f"Ray at {self._plan.address} can't be used: {told['error']}.",
                "See whether the cluster runs and has the same Python and Ray: ray status",
            )
        self._workers = int(told["workers"])

    def _tell_silence(self) -> str:
        if self._has_ended:
            return "the process that connects has ended"
        return f"it has not answered for {ANSWER_SECONDS:g} s"

    def hold(self) -> None:
        """Once, for whichever run there is."""
        if self._is_held:
            return
        self._is_held = True
        self._say("start")
        self._progress.note(
            f"Asking Ray for {count_of(self._workers, 'worker')} with "
            f"{self._plan.num_cpus:g} processors and {self._plan.num_gpus:g} GPUs each. They must "
            "see the output and the inputs at the same places."
        )

    def show(self, status: Status) -> None:
        had_ended = self._has_ended
        for told in self._read(0):
            if "note" in told:
                self._progress.note(str(told["note"]))
        if self._has_ended and not had_ended:
            self._progress.note("Ray can't be asked any more. The run goes on without it.")

    def begin(self, began: RunBegan) -> None: ...

    def publish(self, published: BatchPublished) -> None: ...

    def end(self, ended: RunEnded) -> None: ...

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):
            os.write(self._stdin, line.encode() + b"\n")

    @property
    def _stdin(self) -> int:
        return self._keeper.stdin.fileno() if self._keeper.stdin is not None else -1

    def _read(self, seconds: float) -> list[dict[str, Any]]:
        """What was told by now, or within so many seconds; nothing where the keeper has ended."""
        if self._keeper.stdout is None or self._has_ended:
            return []
        out = self._keeper.stdout.fileno()
        while select.select([out], [], [], seconds)[0]:
            data = os.read(out, 1 << 16)
            self._unread += data
            self._has_ended = not data
            if not data or b"\n" in self._unread:
                break
        *lines, self._unread = self._unread.split(b"\n")
        return [parse_json(line) for line in lines]

    def _end(self) -> None:
        for pipe in (self._keeper.stdin,):
            if pipe is not None:
                pipe.close()
        try:
            self._keeper.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()
