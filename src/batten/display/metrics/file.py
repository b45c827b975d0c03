"""A file with the metrics of a run, for the textfile collector of Prometheus' node_exporter.

It is replaced whole, now and then and at the end. That it can't be written is told once, and tried
again the next time: no run fails for it (decision 0112).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from batten.display.metrics.counting import RunMetrics
from batten.display.metrics.text import write_metrics
from batten.errors import BattenError
from batten.model.words import RunStatus
from batten.run.clock import now_ns
from batten.storage.local.stand_alone import publish_file

if TYPE_CHECKING:
    from batten.run.progress import Status
    from batten.run.telling.watching import BatchPublished, RunBegan, RunEnded

UPDATE_SECONDS = 5
"""Between two writings, at least."""

_BEGINNING = b"# HELP batten_"


class MetricsFile:
    """Watches one run. `warn` is told once if the file can't be written."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self._path = os.path.abspath(path)
        self._warn = warn
        self._has_warned = False
        self._measured: RunMetrics | None = None
        self._written_ns = 0

    def begin(self, began: RunBegan) -> None:
        self._measured = RunMetrics(began=began)

    def hold(self) -> None:
        self._write()

    def show(self, status: Status) -> None:
        self._know.show(status)
        self._update()

    def publish(self, published: BatchPublished) -> None:
        self._know.publish(published)
        self._update()

    def end(self, ended: RunEnded) -> None:
        # The file is then that of the run at work.
        if ended.status is not RunStatus.BUSY:
            self._know.end(ended)
            self._write()

    @property
    def _know(self) -> RunMetrics:
        if self._measured is None:
            raise RuntimeError("the run has not begun")
        return self._measured

    def _update(self) -> None:
        if abs(now_ns() - self._written_ns) >= UPDATE_SECONDS * 1_000_000_000:
            self._write()

    def _write(self) -> None:
        self._written_ns = now_ns()
        known = self._know
        text = write_metrics(known.list_metrics(self._written_ns), {"output": known.began.output})
        try:
            reason = find_obstacle(self._path)
            if not reason:
                with publish_file(self._path) as file:
                    file.write(text.encode())
        except BattenError as error:
            reason = error.what
        except OSError as error:
            reason = error.strerror or type(error).__name__
        if reason and not self._has_warned:
            self._has_warned = True
            self._warn(f"The metrics file {self._path} can't be written: {reason}")


def find_obstacle(path: str) -> str:
    """Why what is at the path is not to be replaced; empty if nothing keeps from that. It may be
    anybody's file, named by a slip of the finger."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "it is no regular file."
        beginning = os.read(descriptor, len(_BEGINNING))
    finally:
        os.close(descriptor)
    return "" if beginning in (b"", _BEGINNING) else "it has something else in it."
