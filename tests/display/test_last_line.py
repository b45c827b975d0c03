"""The bar is the last line of a terminal; what functions print goes above it, whole."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.display.bar import Bar
from batten.display.colours import Colour, Span, join_spans
from batten.executors.printing.last_line import CLEAR, TAIL_BYTES_MAX, WholeLines
from batten.run.progress import Status

Watch = Callable[..., tuple[int, str]]
Show = Callable[[str], list[str]]

JOB = """
import os, subprocess, sys, time
import batten


def work(n):
    print("item", n, end=" ")
    print("begins", flush=True)
    sys.stderr.write(f"item {n} ends")
    sys.stderr.flush()
    sys.stderr.write("\\n")
    return {"n": n}


pipeline = batten.from_range(40).map(work).options(batch_size=5).write_parquet("out")
if __name__ == "__main__":
    pipeline.run(jobs=1, executor=sys.argv[1])
"""

STATUS = Status(
    source=1000,
    committed=200,
    staged=100,
    quarantined=3,
    executed=300,
    adopted=0,
    seconds=3723.0,
    waits=("api.example.com\x1b[31m asked to wait 12 s",),
)

PRINTED = {f"item {n} {what}" for n in range(40) for what in ("begins", "ends")}


@pytest.mark.parametrize("executor", ["processes", "serial", "threads"])
def test_prints_stand_above_the_bar(watch_job: Watch, show: Show, executor: str) -> None:
    code, told = watch_job(executor)
    assert code == 0
    assert "40/40 items" in told
    lines = [line.strip() for line in show(told)]
    assert {line for line in lines if line.startswith("item")} == PRINTED
    end = lines.index("out: complete; the accounts are closed.")
    assert [line for line in lines[:end] if not line.startswith("item")] == []


@pytest.fixture
def watch_job(tmp_path: Path, watch_command: Watch) -> Watch:
    (tmp_path / "job.py").write_text(JOB)
    return lambda *words, **env: watch_command([sys.executable, "job.py", *words], **env)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_are_left_out_where_nobody_wants_them(watch_job: Watch, no_color: str) -> None:
    _, told = watch_job("serial", NO_COLOR=no_color)
    assert bool(re.search(r"\x1b\[\d*m", told)) is not bool(no_color)


def test_a_line_is_cut_by_what_is_seen() -> None:
    pieces = [Span("1234"), Span("5678", Colour.GOOD), Span("9", Colour.QUIET)]
    assert join_spans(pieces, 6, coloured=True) == "1234\x1b[32m5…\x1b[0m"
    assert join_spans(pieces, 99, coloured=False) == "123456789"
    wide = [Span("測定 "), Span("待つ", Colour.DOUBTFUL), Span("9")]
    assert [join_spans(wide, columns, coloured=False) for columns in (1, 3, 5, 8, 9, 10)] == [
        *("…", "測…", "測定 ", "測定 待…", "測定 待つ", "測定 待つ9")
    ]


def test_lines_are_whole_and_nothing_is_lost(seeded: random.Random) -> None:
    for _ in range(100):
        data = bytes(seeded.choices(b"ab\n", weights=[5, 5, 1], k=seeded.randrange(200)))
        lines, told, at = WholeLines(), b"", 0
        while at < len(data):
            size = seeded.randrange(1, 20)
            whole = lines.take(data[at : at + size])
            assert whole == b"" or whole.endswith(b"\n")
            told, at = told + whole, at + size
        told += lines.finish()
        assert told.rstrip(b"\n") == data.rstrip(b"\n")


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = WholeLines()
    told = b"".join(lines.take(b"x" * 1000) for _ in range(20)) + lines.finish()
    assert told.count(b"x") == 20_000
    assert max(map(len, told.split(b"\n"))) <= TAIL_BYTES_MAX + 1000


@pytest.mark.parametrize("columns", [12, 40, 80, 200])
def test_what_a_terminal_shows_of_ctrl_c_has_room(show: Show, columns: int) -> None:
    """Else it goes on into the next line, and half of the bar stays for ever."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(follower, "w") as stream:
        bar = Bar(stream)
        bar.show(STATUS)
        told = os.read(leader, 4096)
        bar.close()
    os.close(leader)
    shown = show(told.decode())[-1]
    assert 0 < len(f"{shown}^C") < columns


def test_it_says_elapsed_time_and_what_waits(show: Show) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        bar = Bar(stream)
        bar.show(STATUS)
        told = os.read(leader, 4096)
        bar.close()
        assert os.read(leader, 4096) == CLEAR
    os.close(leader)
    shown = show(told.decode())[-1]
    assert "300/1,000 items  30%  0.1/s  1:02:03  ETA 2:24:47  3 quarantined  api." in shown
