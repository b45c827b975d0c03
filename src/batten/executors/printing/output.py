"""Standard output and error that may be lost.

Who loses the reader of the log (`| head`, a terminal that closed, a full disk behind a redirect)
loses the log, and no item: `print` never fails (decision 0071).

Once a reader is gone, the descriptor leads to `/dev/null`. So whoever else writes there (another
stream, a logging handler, a program that is started later) can do so without an error, too.

Where there are worker processes, all that they and their programs write goes through a pipe
(`OutputRelay`), whose reader stays. So no write of theirs fails, by whatever way it is made.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from batten.executors.printing.last_line import CLEAR, ShownLine, WholeLines, last_line

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NAMES = ("stdout", "stderr")
_DESCRIPTORS = (1, 2)

_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""These failures may be over at the next line, so the descriptor stays."""


class Losses:
    """What was lost in this process: `count` descriptors, and why the first."""

    def __init__(self) -> None:
        self.count = 0
        self.reason = ""

    def look(self) -> int:
        """The count, after a look at who reads what is printed. A system call; never raises."""
        poll = select.poll()
        for descriptor in _DESCRIPTORS:
            poll.register(descriptor, 0)
        with suppress(OSError):
            for descriptor, _ in poll.poll(0):
                self.take(descriptor, OSError(errno.EPIPE, os.strerror(errno.EPIPE)))
        return self.count

    def take(self, descriptor: int, error: OSError) -> None:
        """A write failed so."""
        self.reason = self.reason or (error.strerror or str(error))
        if error.errno in _PASSING:
            return
        self.count += 1
        # Where too many files are open, the next write fails in the same way, and is lost too.
        with suppress(OSError):
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


losses = Losses()
"""This process's own; a worker that is forked has its own copy."""


@contextmanager
def output_may_be_lost() -> Iterator[None]:
    """For as long as it is entered, writing to standard output and error never fails. Streams that
    are not the system's own (a notebook's, a test's) are left alone. May be nested."""
    before = {name: getattr(sys, name) for name in _NAMES}
    losses.reason = ""
    hold_output()
    try:
        yield
    finally:
        for name, stream in before.items():
            with suppress(OSError, ValueError, AttributeError):
                getattr(sys, name).flush()
            setattr(sys, name, stream)


def hold_output() -> None:
    """From now on, as `output_may_be_lost` says. May be repeated."""
    losses.look()
    made: dict[int, io.TextIOWrapper] = {}
    for name in _NAMES:
        stream = getattr(sys, name)
        if id(stream) not in made and (descriptor := _find_descriptor(stream)) is not None:
            made[id(stream)] = _wrap(stream, descriptor)
        if id(stream) in made:
            setattr(sys, name, made[id(stream)])


def _find_descriptor(stream: Any) -> int | None:
    """That of a plain stream of the system; None if it is something else, or wrapped already."""
    if type(stream) is not io.TextIOWrapper or stream.closed:
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return raw.fileno() if type(raw) is io.FileIO else None


def _wrap(stream: io.TextIOWrapper, descriptor: int) -> io.TextIOWrapper:
    try:
        stream.flush()
    except OSError as error:
        losses.take(descriptor, error)
    raw = _Lossy(descriptor, stream.name)
    # With `python -u` what is printed is seen at once.
    buffer: Any = raw if stream.write_through else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Lossy(io.RawIOBase):
    """Writes to a descriptor that belongs to somebody else. What can't be written is lost."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self.name = name
        self.mode = "wb"

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        left = memoryview(data)
        size = left.nbytes
        if last_line.is_claimed and self.isatty():
            left = memoryview(last_line.add_above(self._descriptor, bytes(data)))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Somebody else made it so; `print` knows no such thing.
                select.select((), (self._descriptor,), ())
            except OSError as error:
                losses.take(self._descriptor, error)
                break
        return size


_PIECE_BYTES = select.PIPE_BUF
"""A pipe that can be written to takes so much at once."""

_HELD_BYTES = 1 << 16


class OutputRelay:
    """A pipe that stands for standard output or error: what is written to `sink` goes on to the
    `target`, as far as somebody takes it. A slow reader of the target slows the writers down, and
    one that is gone does not. Served by the loop of the process that made it, and never blocks
    it: only one of `watched` is of interest at a time. `last`: what the driver
    draws at the end of the target, if that is a terminal."""

    def __init__(self, target: int, last: ShownLine | None = None) -> None:
        self._target = target
        self._last = last if last is not None and os.isatty(target) else None
        self._lines = WholeLines()
        self._source, self.sink = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._source, False)
        self._held = b""
        self._ready = select.poll()
        self._ready.register(target, select.POLLOUT)

    @property
    def watched(self) -> tuple[int, int]:
        """The descriptor to wait for, and what for."""
        if self._held:
            return self._target, select.POLLOUT
        return self._source, select.POLLIN

    def serve(self) -> bool:
        """Pass on what can be passed on now; whether there was something to read."""
        has_read = False
        if not self._held:
            with suppress(BlockingIOError):
                self._held = os.read(self._source, _HELD_BYTES)
            has_read = bool(self._held)
            if self._last is not None:
                self._held = self._lines.take(self._held)
        while self._held and self._ready.poll(0):
            if not self._write(self._cut()):
                break
        return has_read

    def finish(self, until: float) -> None:
        """Pass on the rest, for no longer than until then by the monotonic clock."""
        while self.serve() or self._held or self._take_rest():
            left = until - monotonic()
            if left <= 0:
                return
            if self._held:
                self._ready.poll(1000 * left)

    def _take_rest(self) -> bool:
        """Whether there is a line without its end, which is passed on now."""
        self._held = self._lines.finish()
        return bool(self._held)

    def become_sink(self, descriptor: int) -> None:
        """In a process that is to write into it: that descriptor leads there."""
        os.dup2(self.sink, descriptor)

    def leave(self) -> None:
        """In a process that only writes, after its descriptors lead there."""
        os.close(self._source)
        os.close(self.sink)

    def _cut(self) -> bytes:
        """Short lines are passed on whole, so that others' lines do not come between."""
        piece = self._held[:_PIECE_BYTES]
        return piece[: piece.rfind(b"\n") + 1] or piece

    def _write(self, piece: bytes) -> bool:
        """Whether it is passed on, or lost."""
        done = len(piece)
        before, after = (CLEAR, self._last.load()) if self._last is not None else (b"", b"")
        try:
            written = os.write(self._target, before + piece + after)
            done = min(done, max(0, written - len(before)))
        except BlockingIOError:
            return False
        except OSError as error:
            losses.take(self._target, error)
        self._held = self._held[done:]
        return True
