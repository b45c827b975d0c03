"""The pipe between workers and the log: its reader stays, and it never blocks who serves it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from batten.executors.printing.output import OutputRelay, losses

PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its reader and its writer, with room for a page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(reader, False)
    yield reader, writer
    for each in (reader, writer):
        os.close(each)


def finish(relay: OutputRelay) -> None:
    relay.finish(monotonic() + 30)
    relay.leave()


def test_what_is_written_comes_out(tmp_path: Path, seeded: random.Random) -> None:
    with open(tmp_path / "log", "wb") as log:
        relay, told = OutputRelay(log.fileno()), b""
        for _ in range(300):
            text = seeded.randbytes(seeded.randrange(1, 9000))
            told += text
            os.write(relay.sink, text)
            relay.serve()
        finish(relay)
    assert (tmp_path / "log").read_bytes() == told


def test_a_slow_reader_holds_nobody_up_who_serves(pipe: tuple[int, int]) -> None:
    relay = OutputRelay(pipe[1])
    os.set_blocking(relay.sink, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(relay.sink, b"a line\n" * 100)
            relay.serve()
    assert relay.watched[0] == pipe[1]
    read = 0
    while read < written:
        read += len(os.read(pipe[0], PIPE_BYTES))
        relay.serve()
    assert read == written
    relay.serve()
    assert relay.watched[0] != pipe[1]
    finish(relay)


def test_lines_are_passed_on_whole(pipe: tuple[int, int]) -> None:
    relay = OutputRelay(pipe[1])
    line = b"y" * 1499 + b"\n"
    os.write(relay.sink, line * 10)
    relay.serve()
    read = os.read(pipe[0], PIPE_BYTES)
    assert read == line * 2
    while len(read) < 10 * len(line):
        relay.serve()
        read += os.read(pipe[0], PIPE_BYTES)
    assert read == line * 10
    finish(relay)


def test_a_line_longer_than_a_page_passes(pipe: tuple[int, int]) -> None:
    relay = OutputRelay(pipe[1])
    os.write(relay.sink, b"z" * 10_000)
    read = b""
    while len(read) < 10_000:
        relay.serve()
        read += os.read(pipe[0], PIPE_BYTES)
    assert read == b"z" * 10_000
    finish(relay)


def test_a_reader_that_goes_is_no_failure() -> None:
    reader, writer = os.pipe()
    relay, before = OutputRelay(writer), losses.count
    os.close(reader)
    for _ in range(100):
        os.write(relay.sink, b"to nobody\n" * 1000)
        relay.serve()
    assert losses.count == before + 1
    finish(relay)
    os.close(writer)


def test_a_full_disk_loses_what_does_not_fit() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        relay, before = OutputRelay(full.fileno()), losses.count
        for _ in range(100):
            os.write(relay.sink, b"no room\n" * 1000)
            relay.serve()
        assert losses.count == before
        finish(relay)
