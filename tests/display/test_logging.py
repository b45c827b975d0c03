"""What `logging` gets of a run: records with fields, and nothing is printed by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batten

EVENTS = ["run_began", "batch_published", "item_quarantined", "batch_published", "run_ended"]


def fail_second(n: int) -> dict[str, int]:
    if n == 1:
        raise ValueError("no\nmore")
    return {"n": n}


Records = Callable[[], list[Any]]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    caplog.set_level(logging.INFO, "batten")
    return lambda: [each for each in caplog.records if each.name == "batten.run"]


def test_each_event_has_its_fields(tmp_path: Path, records: Records) -> None:
    pipeline = batten.from_range(4).map(fail_second).options(batch_size=2)
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    assert [each.event for each in records()] == EVENTS
    assert {each.path for each in records()} == {report.path}
    assert {each.run for each in records()} == {report.run}
    began, first, failed, second, ended = records()
    assert began.jobs >= 1
    assert (first.batch, first.items, first.rows, first.quarantined) == (0, 2, 1, 1)
    assert (failed.key, failed.error, failed.attempts) == ("1", "ValueError: no more", 1)
    assert failed.levelno == logging.WARNING
    assert (second.batch, second.quarantined) == (1, 0)
    assert (ended.status, ended.items, ended.quarantined, ended.rows) == ("complete", 4, 1, 3)
    assert ended.executed_items == 4
    assert set(ended.seconds) >= {"plan", "prepare", "publish"}


def test_a_run_that_fails_ends_with_the_error(tmp_path: Path, records: Records) -> None:
    pipeline = batten.from_range(4).map(fail_second).options(batch_size=2, on_error="raise")
    with pytest.raises(batten.FailedRunError):
        pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    ended = records()[-1]
    assert ended.event == "run_ended"
    assert (ended.status, ended.kind) == ("failed", "FailedRunError")
    assert ended.error == "The item '1' failed: ValueError: no more"
    assert ended.levelno == logging.ERROR


def test_a_dry_run_is_no_run(tmp_path: Path, records: Records) -> None:
    pipeline = batten.from_range(4).map(fail_second).write_parquet(tmp_path / "out")
    pipeline.run(dry_run=True, progress=False)
    assert records() == []


def test_a_preview_is_no_run(tmp_path: Path, records: Records) -> None:
    pipeline = batten.from_range(4).map(fail_second).write_parquet(tmp_path / "out")
    assert [row["n"] for row in pipeline.preview().rows] == [0, 2, 3]
    assert records() == []


def test_secrets_and_escapes_are_not_logged(
    tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_PASSWORD", "correct horse battery")
    secret = batten.Secret("SERVICE_PASSWORD")

    def fail(n: int) -> dict[str, int]:
        raise ValueError(f"\x1b[31m {secret()}")

    pipeline = batten.from_range(1).map(fail).write_parquet(tmp_path / "out")
    pipeline.run(executor="serial", progress=False)
    told = "".join(each.getMessage() + repr(vars(each)) for each in records())
    assert "correct horse" not in told
    assert "\x1b" not in "".join(each.getMessage() for each in records())


class Raising(logging.Handler):
    """A handler of somebody else's, which can't reach its server."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: Any) -> None:
        self.told.append(record.event)
        raise ConnectionError("the server\nis away")


@pytest.fixture
def raising() -> Iterator[Raising]:
    logger, handler = logging.getLogger("batten"), Raising()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_handler_that_raises_ends_no_run(
    tmp_path: Path, records: Records, raising: Raising
) -> None:
    pipeline = batten.from_range(4).map(fail_second).options(batch_size=2)
    with pytest.warns(RuntimeWarning, match="ConnectionError: the server.") as warned:
        report = pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    assert (report.status, report.rows) == ("complete", 3)
    # It may be there again, so it is told all; its user is told once.
    assert raising.told == EVENTS
    assert len([each for each in warned if each.category is RuntimeWarning]) == 1


def test_a_handler_that_raises_hides_no_failure(
    tmp_path: Path, records: Records, raising: Raising
) -> None:
    pipeline = batten.from_range(4).map(fail_second).options(batch_size=2, on_error="raise")
    with (
        pytest.warns(RuntimeWarning, match="ConnectionError"),
        pytest.raises(batten.FailedRunError, match="no"),
    ):
        pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    assert raising.told[-1] == "run_ended"


def test_the_command_tells_of_such_a_handler_in_a_line(program: Any, tmp_path: Path) -> None:
    program("pass")
    job = (tmp_path / "program.py").read_text()
    handler = """
import logging
class Raising(logging.Handler):
    def emit(self, record):
        raise ConnectionError("away")
logging.getLogger("batten").addHandler(Raising())
"""
    (tmp_path / "program.py").write_text(handler + job)
    words = [sys.executable, "-m", "batten", "run", "program.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if "ConnectionError" in line]
    what = "A handler of logging.getLogger('batten.run') raised ConnectionError: away."
    assert told == [f"{what} It is told what comes later."]


def test_without_a_handler_nothing_is_printed(program: Any) -> None:
    done = program("pipeline.run(progress=False)", "-W", "ignore")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
