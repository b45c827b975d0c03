"""Layouts that are not batten's: the four states of a night, and what a script of two `ls` took for
another."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from batten.cli.main import main
from batten.inspect.diagnosis import Diagnosis
from batten.model.rules.foreign_states import Final, ForeignFacts, decide_foreign
from batten.model.words import Action, State
from batten.storage.local.locking.writers import Writers, find_writers
from batten.strangers.diagnose import ForeignLayout, survey_foreign

FINAL = "out/refunds_{run_date}.csv"
STAGING = "_staging/{run_date}.*.csv"
DAY = "2026-04-24"
HOUR = 3600.0

WithoutPermission = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("out", "_staging"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def nobody_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many processes tell nothing of themselves depends on the machine."""

    def ask(paths: Iterable[str]) -> Writers:
        return replace(find_writers(paths), hidden=0)

    monkeypatch.setattr("batten.strangers.diagnose.find_writers", ask)


def finish(folder: Path, *, age_seconds: float = 0.0) -> Path:
    path = folder / f"out/refunds_{DAY}.csv"
    path.write_text("id,amount\n1,2\n")
    now = path.stat().st_mtime
    os.utime(path, (now - age_seconds, now - age_seconds))
    return path


def leave_orphan(folder: Path) -> Path:
    path = folder / f"_staging/{DAY}.4711.csv"
    path.write_bytes(bytes(217))
    return path


def look(fresh_for: float | None = None, runs: tuple[str, ...] = (DAY,)) -> Diagnosis:
    layout = ForeignLayout(final=FINAL, staging=STAGING, fresh_for_seconds=fresh_for)
    (found,) = survey_foreign(layout, runs).diagnoses
    return found


def test_nothing_was_written(folder: Path) -> None:
    found = look()
    assert (found.state, found.action, found.exit_code) == ("NEW", "run", 10)
    assert found.reason.endswith("(A, B or C)")
    assert found.readers.startswith("nothing")


def test_an_orphan_and_no_report(folder: Path) -> None:
    orphan = leave_orphan(folder)
    found = look()
    assert (found.state, found.action) == ("INTERRUPTED", "run")
    assert found.reason.endswith("(D)")
    assert [each.bytes for each in found.orphans] == [orphan.stat().st_size]
    assert "publishing what lies in staging" in found.risky


@pytest.mark.parametrize("age_seconds", [0.0, 7 * HOUR, 400 * 24 * HOUR])
def test_a_finished_report_is_done_however_old(folder: Path, age_seconds: float) -> None:
    finish(folder, age_seconds=age_seconds)
    found = look()
    assert (found.state, found.action, found.exit_code) == ("COMPLETE", "nothing", 0)
    assert found.reason.endswith("(DONE)")


@pytest.mark.parametrize("age_seconds", [0.0, 7 * HOUR])
def test_a_good_file_with_an_orphan_is_never_overwritten(folder: Path, age_seconds: float) -> None:
    finish(folder, age_seconds=age_seconds)
    leave_orphan(folder)
    found = look()
    assert (found.state, found.action) == ("COMPLETE_WITH_ORPHANS", "clean")
    assert found.reason.endswith("(D-race)")
    assert "overwrite" in found.risky
    assert "run the job" not in found.next


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_live_writer_is_running(folder: Path, is_finished: bool) -> None:
    if is_finished:
        finish(folder)
    orphan = leave_orphan(folder)
    command = "import sys; file = open(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()"
    writer = subprocess.Popen(
        [sys.executable, "-c", command, orphan], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        found = look()
        assert (found.state, found.action, found.exit_code) == ("RUNNING", "leave alone", 0)
        assert found.holder is not None
        assert found.holder.pid == writer.pid
        assert found.orphans == ()
    finally:
        writer.communicate(timeout=60)
    assert look().state != "RUNNING"


def test_what_is_written_in_a_folder_of_staging_is_seen(folder: Path) -> None:
    finish(folder)
    (folder / "_staging" / DAY / "deep").mkdir(parents=True)
    layout = ForeignLayout(final=FINAL, staging="_staging/{run_date}")
    (found,) = survey_foreign(layout, [DAY]).diagnoses
    assert found.state == "COMPLETE"
    with (folder / "_staging" / DAY / "deep/part.csv").open("w") as part:
        (found,) = survey_foreign(layout, [DAY]).diagnoses
        assert found.state == "RUNNING"
        part.write("half")
    (found,) = survey_foreign(layout, [DAY]).diagnoses
    assert found.state == "COMPLETE_WITH_ORPHANS"
    assert found.next == f"move away _staging/{DAY}/deep/part.csv"


@pytest.mark.parametrize("is_finished", [True, False])
def test_staging_that_may_not_be_read_is_not_taken_for_empty(
    folder: Path, without_permission: WithoutPermission, is_finished: bool
) -> None:
    if is_finished:
        finish(folder)
    leave_orphan(folder)
    with without_permission(folder / "_staging"):
        found = look()
    assert (found.state, found.exit_code) == ("UNKNOWN", 5)
    assert "staging can't be looked at" in found.reason
    assert "permission is missing" in found.reason


def test_thousands_of_orphans_are_counted_and_not_named(folder: Path) -> None:
    finish(folder)
    for number in range(2000):
        (folder / f"_staging/{DAY}.{number}.csv").touch()
    found = look()
    assert found.next == "move away the 2,000 files in staging (--json lists them)"
    assert len(found.orphans) == 2000


def test_a_reader_is_no_writer(folder: Path) -> None:
    orphan = leave_orphan(folder)
    with orphan.open("rb"):
        assert look().state == "INTERRUPTED"
    with orphan.open("ab"):
        assert find_writers([str(orphan)]).pids == (os.getpid(),)


@pytest.mark.parametrize(
    ("age_seconds", "has_orphan", "state", "action"),
    [
        (5 * HOUR, False, "COMPLETE", "nothing"),
        (5 * HOUR, True, "COMPLETE_WITH_ORPHANS", "clean"),
        (7 * HOUR, False, "NEW", "run"),
        (7 * HOUR, True, "INTERRUPTED", "run"),
        (-HOUR, False, "UNKNOWN", "look"),
        (-HOUR, True, "UNKNOWN", "look"),
    ],
)
def test_freshness_counts_only_where_it_is_asked_for(
    folder: Path, age_seconds: float, has_orphan: bool, state: str, action: str
) -> None:
    """Where every run replaces a file of the same name."""
    finish(folder, age_seconds=age_seconds).rename("out/refunds.csv")
    if has_orphan:
        leave_orphan(folder)

    def look_at_one(fresh_for: float | None) -> Diagnosis:
        one = ForeignLayout(final="out/refunds.csv", staging=STAGING, fresh_for_seconds=fresh_for)
        (found,) = survey_foreign(one, (DAY,)).diagnoses
        return found

    found = look_at_one(6 * HOUR)
    assert (found.state, found.action) == (state, action)
    assert look_at_one(None).state in ("COMPLETE", "COMPLETE_WITH_ORPHANS")


@pytest.mark.parametrize("age_seconds", [8 * HOUR, 400 * 24 * HOUR, -HOUR])
def test_a_name_that_tells_the_run_is_believed_before_an_age(
    folder: Path, age_seconds: float
) -> None:
    """The run's own file of eight hours ago, and an orphan: to run it again would overwrite it."""
    finish(folder, age_seconds=age_seconds)
    leave_orphan(folder)
    found = look(fresh_for=6 * HOUR)
    assert (found.state, found.action) == ("COMPLETE_WITH_ORPHANS", "clean")
    assert any("its age was not asked" in hint for hint in found.hints)


def test_a_name_that_tells_half_of_the_run_is_not(folder: Path) -> None:
    (folder / "out/eu.csv").write_text("rows")
    os.utime("out/eu.csv", (0, 0))
    layout = ForeignLayout(
        final="out/{region}.csv", staging="_staging/{run_date}.*", fresh_for_seconds=HOUR
    )
    (found,) = survey_foreign(layout, ("region=eu", f"run_date={DAY}")).diagnoses
    assert found.state == "NEW"


def test_processes_that_could_not_be_asked_are_not_taken_for_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_orphan(folder)
    hidden = Writers(pids=(), hidden=164)
    monkeypatch.setattr("batten.strangers.diagnose.find_writers", lambda paths: hidden)
    found = look()
    assert "no process writes to it" not in found.reason
    assert "164 processes of other users could not be asked" in found.reason
    assert found.next.startswith("make sure that no run is at work, then move away _staging/")
    finish(folder)
    assert look().next.startswith("make sure that no run is at work, then move away ")


@pytest.mark.parametrize("kind", ["empty", "folder", "pipe", "loop"])
def test_something_odd_in_the_place_of_the_report(folder: Path, kind: str) -> None:
    path = folder / f"out/refunds_{DAY}.csv"
    make = {
        "empty": path.touch,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
    }[kind]
    make()
    assert look().state == "UNKNOWN"


def test_runs_of_other_days_are_not_taken_for_this_one(folder: Path) -> None:
    finish(folder)
    (folder / "_staging/2026-04-25.1.csv").write_text("x")
    assert look().state == "COMPLETE"


def test_a_value_is_never_a_pattern(folder: Path) -> None:
    leave_orphan(folder)
    assert look(runs=("*",)).state == "NEW"


def test_every_combination_of_facts_has_a_state() -> None:
    for final, has_writer, has_staging in itertools.product(Final, (True, False), (True, False)):
        facts = ForeignFacts(final=final, has_writer=has_writer, has_staging=has_staging)
        verdict = decide_foreign(facts).verdict
        if final is Final.THERE:
            assert verdict.action is not Action.RUN
        assert (verdict.state is State.RUNNING) == has_writer


WHOLE = "that the file is whole is the job's word; batten did not write it"
WORDS = ["diagnose", "--final", FINAL, "--staging", STAGING]


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_orphan(folder)
    assert main([*WORDS, "--run", DAY]) == 10
    assert capsys.readouterr().out.startswith(f"INTERRUPTED  out/refunds_{DAY}.csv\n")
    (folder / "out/refunds_2026-04-25.csv").write_text("four")
    assert main([*WORDS, "--run", "2026-04-23..2026-04-25"]) == 10
    assert [line.rpartition(".csv  ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "3 outputs: 1 INTERRUPTED, 1 NEW, 1 COMPLETE",
        f"next: move away _staging/{DAY}.4711.csv, then run the job for run_date={DAY}",
        "missing: nothing is there",
        f"a file of 4 bytes; it is there; {WHOLE}",
    ]
    assert main([*WORDS, "--run", "2026-04-23..2026-04-24", "--json"]) == 10
    assert json.loads(capsys.readouterr().out)["states"] == {"INTERRUPTED": 1, "NEW": 1}


@pytest.mark.parametrize(
    "words",
    [
        ["diagnose"],
        ["diagnose", "out", "--run", DAY],
        ["diagnose", "out", "--final", FINAL, "--run", DAY],
        WORDS,
        [*WORDS, "--run", "day=1"],
        [*WORDS, "--run", DAY, "--fresh-for", "six"],
    ],
)
def test_bad_arguments(folder: Path, words: list[str]) -> None:
    assert main(words) == 2
