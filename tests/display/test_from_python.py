"""A run from Python shows itself: how far it is, what failed first, and what came of it."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batten

RunProgram = Callable[..., subprocess.CompletedProcess[str]]
Watch = Callable[..., tuple[int, str]]

QUARANTINED = "out: 5 of 24 items are quarantined."


def fail_some(n: int) -> dict[str, int]:
    if n % 5 == 2:
        raise ValueError(f"no {n}")
    return {"n": n}


@pytest.fixture
def pipeline(tmp_path: Path) -> batten.Pipeline:
    made = batten.from_range(24).map(fail_some).options(batch_size=8)
    return made.write_parquet(tmp_path / "out")


def test_a_script_tells_what_failed_and_what_came_of_it(program: RunProgram) -> None:
    done = program("pipeline.run()")
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    # Which of them failed first is for the workers to say.
    first = re.fullmatch(r"First item that failed: '(\d+)': ValueError: no (\d+)", lines[0])
    assert first is not None, lines
    assert first[1] == first[2]
    assert int(first[1]) % 5 == 2
    assert lines[1:3] == [
        "out: complete; the accounts are closed.",
        "  24 items: 19 committed (19 rows), 5 quarantined",
    ]
    assert "  see why: batten show out" in lines
    warning = f"program.py:15: QuarantinedWarning: {QUARANTINED} See why: batten show out"
    assert [line.rpartition("/")[2] for line in lines if "Warning" in line] == [warning]


def test_without_progress_only_the_warning_is_left(program: RunProgram) -> None:
    done = program("pipeline.run(progress=False)")
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "Quarantined" not in line] == [
        "  pipeline.run(progress=False)"
    ]


def test_a_check_makes_the_script_fail(program: RunProgram) -> None:
    done = program("pipeline.run(check=True)")
    assert done.returncode == 1
    assert QUARANTINED in done.stderr.splitlines()
    assert "Warning" not in done.stderr


def test_a_terminal_gets_a_bar(watch: Watch) -> None:
    code, told = watch("pipeline.run()", NO_COLOR="1")
    assert code == 0
    bars = [piece for piece in told.split("\r\x1b[2K") if piece.startswith("[")]
    assert bars[-1].startswith("[####")
    assert "24/24 items  100%" in bars[-1]
    shares = [int(each.split("%")[0].split()[-1]) for each in bars]
    assert shares == sorted(shares)
    assert "out: complete; the accounts are closed.\r\n" in told


def test_a_run_that_is_refused_leaves_the_terminal_as_it_was(watch: Watch) -> None:
    _, told = watch(
        """
        pipeline.run(progress=False)
        from batten.executors.printing.last_line import last_line
        try:
            pipeline.run(resume="never")
        except batten.RefusedError:
            print("claimed:", last_line.is_claimed)
        """
    )
    assert "claimed: False" in told


def test_one_of_ones_own_is_closed_once(pipeline: batten.Pipeline) -> None:
    class Own:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def show(self, status: batten.Status) -> None:
            self.calls.append("show")

        def note(self, text: str) -> None:
            self.calls.append(text)

        def close(self) -> None:
            self.calls.append("close")

    own = Own()
    pipeline.run(executor="serial", progress=own)
    assert "First item that failed: '2': ValueError: no 2" in own.calls
    assert own.calls[-2:] == ["show", "close"]
    assert own.calls.count("close") == 1


def test_a_dumb_terminal_gets_lines(watch: Watch) -> None:
    _, told = watch("pipeline.run()", TERM="dumb")
    assert "\x1b" not in told
    assert "out: complete; the accounts are closed.\r\n" in told


def test_the_command_says_it_by_its_exit_code_alone(program: RunProgram, tmp_path: Path) -> None:
    program("pass")
    done = subprocess.run(
        [sys.executable, "-m", "batten", "run", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Warning" not in done.stderr


def test_a_function_is_called_with_how_far_it_is(pipeline: batten.Pipeline) -> None:
    seen: list[batten.Status] = []
    pipeline.run(executor="serial", progress=seen.append)
    assert seen[-1].finished == seen[-1].source == 24
    assert (seen[-1].quarantined, seen[-1].executed) == (5, 24)


def test_one_that_fails_is_left_out_and_the_run_goes_on(pipeline: batten.Pipeline) -> None:
    calls = []

    def show(status: batten.Status) -> None:
        calls.append(status)
        raise LookupError("nowhere")

    with pytest.warns(RuntimeWarning, match="LookupError: nowhere. The run goes on"):
        report = pipeline.run(executor="serial", progress=show)
    assert report.status == "complete"
    assert len(calls) == 1


def test_a_warning_that_is_an_error_ends_no_run_in_its_middle(
    pipeline: batten.Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    def show(status: batten.Status) -> None:
        raise LookupError("nowhere")

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        report = pipeline.run(executor="serial", progress=show)
    assert report.status == "complete"
    assert "What shows the progress raised LookupError: nowhere." in capsys.readouterr().err


def test_a_warning_that_nobody_can_be_shown_changes_nothing(program: RunProgram) -> None:
    done = program("sys.stderr.close(); print(pipeline.run().status)")
    assert (done.returncode, done.stdout) == (0, "complete\n")


@pytest.mark.parametrize("wanted", [7, "bar", object()])
def test_what_shows_nothing_is_refused(pipeline: batten.Pipeline, wanted: object) -> None:
    with pytest.raises(batten.UsageError, match="which shows nothing"):
        pipeline.run(progress=wanted)  # type: ignore[arg-type]
    assert not Path(f"{pipeline.output}.batten").exists()


class Unheard(io.StringIO):
    """Whoever read from it has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Plain:
    """Knows of a stream's ways only that it is written to."""

    def write(self, text: str) -> int:
        return len(text)


class Failing(Plain):
    encoding = None

    def write(self, text: str) -> int:
        raise LookupError("nowhere")


def make_closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream",
    [
        *(None, make_closed(), Unheard(), Plain(), Failing()),
        io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
    ],
    ids=["none", "closed", "unheard", "plain", "failing", "ascii"],
)
def test_a_run_does_not_depend_on_who_hears_of_it(
    stream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Daemons and programs with windows have no standard error. Others write it into a file that
    knows few letters."""
    monkeypatch.setattr("sys.stderr", stream)
    made = batten.from_items(["é", "ü"], key=str).map(refuse_one, version="1")
    made = made.options(stop_when=None).write_parquet(tmp_path / "öut")
    with pytest.warns(batten.QuarantinedWarning):
        report = made.run(executor="serial")
    assert (report.accounts.committed, report.quarantined) == (1, 1)
    if getattr(stream, "encoding", None) == "ascii":
        stream.flush()
        assert b"First item that failed: '\\xfc': ValueError: \\xfc" in stream.buffer.getvalue()


def refuse_one(text: str) -> dict[str, str]:
    if text == "ü":
        raise ValueError(text)
    return {"text": text}


def test_it_warns_and_a_check_raises(pipeline: batten.Pipeline) -> None:
    with pytest.warns(batten.QuarantinedWarning, match="5 of 24 items are quarantined"):
        pipeline.run(executor="serial", progress=False)
    with pytest.raises(batten.QuarantinedError, match="5 of 24") as raised:
        pipeline.run(executor="serial", progress=False, check=True)
    assert raised.value.report.status == "nothing-to-do"
    assert raised.value.report.quarantined == 5


def test_a_dry_run_and_a_sound_one_say_nothing_of_the_kind(
    pipeline: batten.Pipeline, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    pipeline.run(executor="serial", progress=False)
    recwarn.clear()
    pipeline.run(dry_run=True, check=True, progress=False)
    sound = batten.from_range(3).map(lambda n: {"n": n}).write_parquet(tmp_path / "sound")
    assert sound.run(executor="serial", check=True, progress=False).status == "complete"
    assert recwarn.list == []


def test_the_names_are_there() -> None:
    assert batten.__version__.count(".") == 2
    assert {"Progress", "Report", "Status", "QuarantinedError"} <= set(batten.__all__)
