"""Functions of whole tables: what is recorded of the tables, what a rerun does, how it can end."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.test_landing import FAILURES, KILLS
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import KillBefore
from batten.crashlab.points import MakeFault
from batten.crashlab.promises import UNHARMED
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.starting import Template
from batten.crashlab.tracing.system_calls import ALL, CallKind
from batten.inspect.survey import survey
from batten.inspect.verifying.verify import verify
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.records import decode_record, encode_record
from batten.sources.base import is_batched
from batten.sources.whole_tables import TableSource

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

COLUMNS, ROWS = 80, 24
PATIENCE_SECONDS = 60.0
EXIT_INTERRUPTED = 75

JOB = """
import batten

def report(refunds, merchants):
    open("calls", "a").write("x\\n")
    return refunds.join(merchants, "merchant").sort_by("refund")

def pipeline(run_date: str = "1"):
    return (
        batten.from_tables(refunds="in/refunds_{run_date}.csv", merchants="in/merchants.csv")
        .apply(report)
        .write_csv("out/report_{run_date}.csv")
    )
"""
REPORT = '"refund","merchant","name"\n1,7,"Seven"\n2,8,"Eight"\n'


@pytest.fixture
def tables(job: Folder) -> Folder:
    prepare(job.path)
    return job


def prepare(folder: Path) -> None:
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(JOB)
    (folder / "in/refunds_1.csv").write_text("refund,merchant\n2,8\n1,7\n")
    (folder / "in/merchants.csv").write_text("merchant,name\n7,Seven\n8,Eight\n")


def read(folder: Path) -> str:
    return (folder / "out/report_1.csv").read_text()


def test_the_function_gets_all_tables_and_its_table_becomes_the_file(tables: Folder) -> None:
    done = tables.run("--json")
    assert done.code == 0, done.err
    assert read(tables.path) == REPORT
    assert done.json["items"]["committed"] == 2
    (given,) = done.json["destinations"]
    assert (given["rows"], given["kind"]) == (2, "csv")
    assert [path.name for path in (tables.path / "out").iterdir() if path.is_file()] == [
        "report_1.csv"
    ]
    ledger = pq.read_table(tables.path / "out/report_1.csv.batten/parts").to_pylist()
    assert [(row["key"], row["path"], row["bytes"]) for row in ledger] == [
        ("refunds", "in/refunds_1.csv", 24),
        ("merchants", "in/merchants.csv", 30),
    ]
    assert verify(tables.path / "out/report_1.csv").is_sound
    again = tables.run("--json")
    assert (again.code, again.json["status"]) == (0, "nothing-to-do")
    assert tables.calls() == ["x"]


def test_the_ledger_of_the_tables_is_not_exported_for_the_report(tables: Folder) -> None:
    assert tables.run().code == 0
    refused = tables.batten("export", "out/report_1.csv", "x.csv")
    assert (refused.code, refused.told[2]) == (5, "Copy it: cp out/report_1.csv x.csv")
    assert not (tables.path / "x.csv").exists()
    assert "  tables   refunds, merchants" in tables.batten("verify", "out/report_1.csv").out


def test_a_changed_table_is_seen_and_refused_until_it_is_asked_for(tables: Folder) -> None:
    assert tables.run().code == 0
    (tables.path / "in/merchants.csv").write_text("merchant,name\n7,Seven\n8,Acht\n")
    refused = tables.run()
    assert refused.code == 5
    assert "table merchants changed" in refused.told[0]
    assert read(tables.path) == REPORT
    fresh = tables.run("--fresh")
    assert fresh.code == 0, fresh.err
    assert read(tables.path) == REPORT.replace("Eight", "Acht")
    assert tables.run().code == 0
    assert tables.calls() == ["x", "x"]


def test_diagnose_tells_which_table_has_changed_since(tables: Folder) -> None:
    assert tables.run().code == 0
    report, merchants = tables.path / "out/report_1.csv", tables.path / "in/merchants.csv"
    assert batten.diagnose(report).hints == ()
    changed = f"the input {merchants} was changed since this was made"
    os.utime(merchants, ns=(1, 1))
    assert batten.diagnose(report).hints == ()
    (brief,) = survey([str(tables.path / "out/report_*.csv")]).diagnoses
    assert brief.hints == (
        f"the input {merchants} may have changed since this was made: its time has",
    )
    told = tables.batten("diagnose", "out/report_{number}.csv").out
    assert "rows; the input" in told
    assert "may have changed" in told, "who asks about many is told what was not looked at"
    text = merchants.read_text()
    for other in (text.replace("Eight", "Seven"), text + "9,Nine\n"):
        merchants.write_text(other)
        found = batten.diagnose(report)
        assert (found.state, found.exit_code, found.hints) == ("STALE", 10, ())
        assert changed in found.reason
        assert found.next.endswith("batten run job.py --fresh")
    (brief,) = survey([str(tables.path / "out/report_*.csv")]).diagnoses
    assert brief.state == "STALE", "its size alone tells"
    # A run that was killed before it replaced the report knows the tables of now.
    run_traced(
        [str(Path(sys.executable).with_name("batten")), "run", "job.py", "--fresh", "--quiet"],
        folders=[tables.path / "out/report_1.csv.batten/staging"],
        fault=KillBefore(1),
        working_folder=tables.path,
    )
    assert changed in batten.diagnose(report).reason
    assert tables.batten("verify", "out/report_1.csv", "--upstream").code == 10
    assert tables.run("--fresh").code == 0
    assert (batten.diagnose(report).state, batten.diagnose(report).hints) == ("COMPLETE", ())
    assert tables.batten("verify", "out/report_1.csv", "--upstream").code == 0
    assert tables.batten("diagnose", "out/report_1.csv", "--inputs").code == 0
    merchants.unlink()
    assert tables.run().code == 7
    found = batten.diagnose(report)
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert f"the input {merchants} is gone" in found.reason
    assert found.next.startswith(f"bring back {merchants}; then: ")


def test_a_change_of_a_table_that_was_accepted_is_none(tables: Folder) -> None:
    assert tables.run().code == 0
    report, merchants = tables.path / "out/report_1.csv", tables.path / "in/merchants.csv"
    merchants.write_text(merchants.read_text() + "9,Nine\n")
    assert batten.diagnose(report).state == "STALE"
    assert tables.run("--accept-change").code == 0
    assert batten.diagnose(report).state == "COMPLETE"


def test_a_function_that_raises_is_mended_and_run_again(tables: Folder) -> None:
    text = (tables.path / "job.py").read_text()
    (tables.path / "job.py").write_text(text.replace("return refunds.join", "1 / 0; refunds.join"))
    failed = tables.run("--quiet")
    assert failed.code == 1
    assert "report() raised ZeroDivisionError: division by zero" in failed.err
    assert "job.py" in failed.err
    assert not (tables.path / "out/report_1.csv").exists()
    state = json.loads(tables.batten("diagnose", "out/report_1.csv", "--json").out)
    assert state["state"] == "INTERRUPTED"
    assert state["again"]["likely"] == "yes"
    assert any("ZeroDivisionError" in hint for hint in state["hints"])
    (tables.path / "job.py").write_text(text)
    assert tables.run("--quiet").code == 0
    assert read(tables.path) == REPORT


def test_diagnose_says_in_words_of_tables_what_is_made_and_what_is_not(tables: Folder) -> None:
    def screen() -> dict[str, str]:
        lines = tables.batten("diagnose", "out/report_1.csv").out.splitlines()
        return {line.split()[0]: line.partition(line.split()[0])[2].strip() for line in lines}

    text = (tables.path / "job.py").read_text()
    failing = text.replace("return refunds.join", "1 / 0; refunds.join")
    (tables.path / "job.py").write_text(failing)
    assert tables.run("--quiet").code == 1
    shown = screen()
    assert shown["why"] == "out/report_1.csv is not made yet"
    assert (shown["do"], shown["risky"]) == ("run the job", "nothing")
    assert (shown["tables"], shown["readers"]) == (
        "refunds, merchants",
        "see nothing: it is not there",
    )
    assert not {"items", "output", "has"} & shown.keys()
    for number in range(5):
        name = f"report_1.csv.host-9999999{number}-4c2969595fcb3f46"
        (tables.path / "out/report_1.csv.batten/staging" / name).touch()
    screen_rows = tables.batten("diagnose", "out/report_1.csv").out.splitlines()
    assert sum(max(1, math.ceil(len(line) / COLUMNS)) for line in screen_rows) < ROWS
    (tables.path / "job.py").write_text(text)
    assert tables.run("--quiet").code == 0
    shown = screen()
    assert shown["why"] == "it was made of 2 tables, whose digests are recorded"
    assert shown["has"] == "out/report_1.csv: 2 rows"
    (tables.path / "job.py").write_text(failing)
    assert tables.run("--quiet", "--accept-change").code == 0
    assert screen()["why"].endswith("; a change of these or of the job was accepted since")
    assert tables.run("--quiet", "--fresh").code == 1
    shown = screen()
    assert (
        shown["why"]
        == "out/report_1.csv is not made yet; the file that is there is of an earlier run"
    )
    assert shown["has"] == "out/report_1.csv: nothing of this dataset"
    assert shown["risky"].startswith("deleting out/report_1.csv.batten: ")
    assert read(tables.path) == REPORT


def test_no_file_is_begun_for_which_there_is_no_room(tables: Folder) -> None:
    assert tables.run("--quiet").code == 0
    output = tables.path / "out/report_1.csv"
    (name,) = (tables.path / "out/report_1.csv.batten/deliveries").iterdir()
    # A file with a hole: as large as is said, and takes no room.
    size = 2 * shutil.disk_usage(tables.path).free
    os.truncate(output, size)
    name.write_bytes(encode_record(replace(decode_record(Delivery, name.read_bytes()), size=size)))
    dry = tables.run("--dry-run", "--fresh")
    assert (dry.code, "  disk: refused; " in dry.err) == (7, True)
    (tables.path / "calls").unlink()
    refused = tables.run("--quiet", "--fresh")
    assert refused.code == 7
    assert "The disk has too little room" in refused.told[0]
    assert "--skip-checks" in refused.told[2]
    assert not (tables.path / "calls").exists()
    assert batten.diagnose(output).state == "COMPLETE"


def test_a_lost_file_is_made_again(tables: Folder) -> None:
    tables.run()
    (tables.path / "out/report_1.csv").unlink()
    assert batten.diagnose(tables.path / "out/report_1.csv").state == "INTERRUPTED"
    assert tables.run().code == 0
    assert read(tables.path) == REPORT


def test_a_file_that_others_changed_is_not_replaced(tables: Folder) -> None:
    tables.run()
    (tables.path / "out/report_1.csv").write_text("mine\n")
    assert tables.run("--fresh").code == 4
    assert read(tables.path) == "mine\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal SIGKILL"),
        ("kept = b'x' * 400_000_000; open('never').read()", "memory_max is 350.0 MB"),
        ("return 7", "it returned a int, not a table"),
    ],
)
def test_a_process_that_ends_badly_is_told(tables: Folder, body: str, told: str) -> None:
    text = (tables.path / "job.py").read_text()
    (tables.path / "job.py").write_text(text.replace("return refunds.join", f"{body}; refunds"))
    os.mkfifo(tables.path / "never")
    ended = tables.run("--quiet", "--memory-max", "350MB")
    assert ended.code == 1
    assert told in ended.err
    assert list((tables.path / "out/report_1.csv.batten/staging").iterdir()) == []
    assert any(told in hint for hint in batten.diagnose(tables.path / "out/report_1.csv").hints)


def test_a_signal_stops_the_function_when_its_time_is_over(tables: Folder) -> None:
    text = (tables.path / "job.py").read_text()
    waiting = text.replace("return refunds.join", 'open("go").read(); return refunds.join')
    (tables.path / "job.py").write_text(waiting.replace("; return", "\n    return"))
    os.mkfifo(tables.path / "go")
    run = subprocess.Popen(
        [sys.executable, "-m", "batten", "run", "job.py", "--quiet", "--drain-seconds", "0.1"],
        cwd=tables.path,
        stderr=subprocess.PIPE,
        text=True,
    )
    with (tables.path / "go").open("w"):
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == EXIT_INTERRUPTED, errors
    assert errors.splitlines()[0] == "Stopped by SIGTERM."
    assert list((tables.path / "out/report_1.csv.batten/staging").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("batten.from_tables().apply(print)", "from_tables() names no table."),
        ('batten.from_tables(a="a.xml").apply(print)', "its ending tells no format"),
        ('batten.from_tables(a="a.csv").apply(print).map(print)', ".map() follows no .apply()."),
        (
            'batten.from_tables(a="a.csv").apply(print).write_tree("t", commit=print)',
            "what follows it here takes items",
        ),
        (
            'batten.from_tables(a="a.csv").apply(print).write_files("t/{key}.png")',
            "what follows it here takes items",
        ),
        ('batten.from_tables(a="a.csv").apply(print).write_parquet("out/")', "would be a folder"),
    ],
)
def test_what_can_not_be_is_refused(job: Folder, change: str, what: str) -> None:
    job.write(f"pipeline = {change}")
    ended = job.run()
    assert ended.code == 2
    assert what in ended.told[0]


def test_other_formats(job: Folder) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), job.path / "one.parquet")
    (job.path / "many").mkdir()
    pq.write_table(pa.table({"a": [3]}), job.path / "many/part-0.parquet")
    (job.path / "a.jsonl").write_text('{"a": 4}\n')
    (job.path / "a.tsv").write_text("a\tb\n5\t6\n")
    job.write(
        """
        import pyarrow as pa
        def join(one, many, lines, tabs):
            return pa.concat_tables([one, many, lines, tabs.select(["a"])])
        pipeline = (
            batten.from_tables(one="one.parquet", many="many/", lines="a.jsonl", tabs="a.tsv")
            .apply(join).write_parquet("out.parquet")
        )
        """
    )
    done = job.run()
    assert done.code == 0, done.err
    assert pq.read_table(job.path / "out.parquet")["a"].to_pylist() == [1, 2, 3, 4, 5]
    pq.write_table(pa.table({"a": [9]}), job.path / "many/part-1.parquet")
    assert "table many changed" in job.run().told[0]


def test_what_kind_of_source_it_is_is_found_without_a_look_at_its_tables() -> None:
    class Unread(TableSource):
        @property
        def identity(self) -> dict[str, str]:
            raise AssertionError("all tables were read")

    assert not is_batched(Unread({"refunds": "refunds.csv"}, folder=Path()))


@needs_tracing
def test_a_table_is_digested_once_and_read_once(tables: Folder) -> None:
    refunds = tables.path / "in/refunds_1.csv"
    refunds.write_text("refund,merchant\n" + "1,7\n" * 10_000)
    size = refunds.stat().st_size
    run = run_traced(
        [str(Path(sys.executable).with_name("batten")), "run", "job.py", "--quiet"],
        folders=[tables.path / "in"],
        kinds=frozenset({CallKind.READ}),
        working_folder=tables.path,
    )
    assert run.returncode == 0, run.stderr
    read = [call.result for call in run.calls if call.path.endswith("refunds_1.csv")]
    # Whether it can be read is tried with the first of it.
    assert 2 * size <= sum(each or 0 for each in read) < 3 * size


def check_always(folder: Path, trail: Trail, *, codes: frozenset[int]) -> None:
    last = trail.last
    assert (last.returncode < 0 and last.fault is not None) or last.returncode in codes
    assert "Traceback" not in last.stderr, last.stderr
    assert not (folder / "out/report_1.csv").exists() or read(folder) == REPORT
    state = batten.diagnose(folder / "out/report_1.csv").state
    assert state in UNHARMED, state


def check_done(folder: Path, trail: Trail) -> None:
    assert read(folder) == REPORT
    assert batten.diagnose(folder / "out/report_1.csv").state == "COMPLETE"
    assert list((folder / "out/report_1.csv.batten/staging").iterdir()) == []


QUICK = JOB.replace(
    'return refunds.join(merchants, "merchant").sort_by("refund")',
    """import pyarrow.compute as pc
    refunds = refunds.take(pc.sort_indices(refunds["refund"]))
    found = pc.index_in(refunds["merchant"], merchants["merchant"])
    return refunds.append_column("name", merchants["name"].take(found))""",
)
"""The same without a join, for which Arrow imports pandas: the sweep runs it a thousand times."""


def prepare_quick(folder: Path) -> None:
    prepare(folder)
    (folder / "job.py").write_text(QUICK)


ITS_OWN = r"\.[^/]*-[0-9]+-[0-9a-z]+$|[0-9TZ]+-[0-9a-f]+(?=\.)"
"""What differs between the files of two runs: the names of what is throwaway, and of the run."""


def quick_run(folder: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("batten")), "run", "job.py", "--quiet", "--json"]


@needs_tracing
def test_a_sweep_sees_the_calls_of_the_command_as_it_is_executed(tmp_path: Path) -> None:
    """The sweep forks it, which must not change what it does."""
    seen = []
    with Template(
        ["batten.pipeline.whole_tables", "batten.deliver.whole.applying", "pyarrow.csv"], None
    ) as forking:
        for folder, template in ((tmp_path / "forked", forking), (tmp_path / "executed", None)):
            folder.mkdir()
            prepare_quick(folder)
            run = run_traced(
                quick_run(folder),
                folders=[folder / "out"],
                kinds=ALL,
                working_folder=folder,
                template=template,
            )
            assert run.returncode == 0, run.stderr
            # How often the driver looks while the function's process works is a matter of time.
            seen.append(
                {
                    (call.name, re.sub(ITS_OWN, "", os.path.relpath(call.path, folder)))
                    for call in run.calls
                }
            )
    assert seen[0] == seen[1]
    assert len(seen[0]) > 50


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize(("faults", "codes"), [(KILLS, {0}), (FAILURES, {0, 7})])
def test_disturbed_at_any_call(
    sample: int | None,
    faults: list[MakeFault],
    codes: set[int],
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    experiment = Experiment(
        prepare=prepare_quick,
        command=quick_run,
        folders=lambda folder: [folder / "out"],
        check=check_done,
        check_always=partial(check_always, codes=frozenset(codes)),
        is_forked=True,
        is_seen_whole=True,
    )
    disturb(experiment, tmp_path, seeded=seeded, faults=faults, sample=sample)
