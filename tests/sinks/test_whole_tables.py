"""One function of whole tables, and several destinations: killed between two, it is not called
again, and each has all rows of one day or those of before."""

from __future__ import annotations

import csv
import errno
import os
import random
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.faults import Fail, KillBefore
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.promises import UNHARMED
from batten.crashlab.sweeping import KILLS, Experiment, Trail, disturb
from batten.crashlab.tracing.laboratory import CommandEnd, run_traced
from batten.crashlab.tracing.system_calls import CallKind
from batten.inspect.verifying.verify import verify
from batten.model.words import State

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

BATTEN = str(Path(sys.executable).with_name("batten"))
FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.EIO),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
]
DAY: dict[str, Any] = {"mode": "replace", "where": {"day": "{day}"}}

JOB = """
    from pathlib import Path

    import batten

    def report(orders, names):
        with open("calls", "a") as file:
            file.write("x\\n")
        return orders.join(names, "id").select(["key", "name"]).sort_by("key")

    def pipeline(day: str = "1"):
        made = batten.from_tables(orders="orders_{day}.csv", names="names.csv").apply(report)
        made = made.write_csv("out/report_{day}.csv")
        return made
"""


def prepare(folder: Path, lab: Lab, **options: Any) -> None:
    """Reports of two days; then a name is corrected."""
    folder.mkdir(parents=True, exist_ok=True)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    call = lab.call.replace(', ledger="rows"', "")[:-1] + given + ")"
    (folder / "job.py").write_text(textwrap.dedent(JOB).rstrip() + call + "\n")
    for day in ("1", "2"):
        (folder / f"orders_{day}.csv").write_text("key,id\n1,a\n2,b\n3,a\n")
    (folder / "names.csv").write_text("id,name\na,Ann\nb,Bob\n")


def run(lab: Lab, *words: str, job: str = "job.py") -> CommandEnd:
    return lab.command("run", job, "--quiet", *words)


def rows_of(a: str) -> list[tuple[int, str]]:
    return [(1, a), (2, "Bob"), (3, a)]


def read_csv(folder: Path, day: str) -> list[tuple[int, str]] | None:
    path = folder / f"out/report_{day}.csv"
    if not path.exists():
        return None
    with path.open() as file:
        return [(int(row["key"]), row["name"]) for row in csv.DictReader(file)]


def read_table(lab: Lab, day: str) -> list[tuple[int, str]]:
    return [(row["key"], row["name"]) for row in lab.read() if row.get("day", day) == day]


def count_calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def correct(folder: Path) -> None:
    (folder / "names.csv").write_text("id,name\na,Anna\nb,Bob\n")


def test_a_corrected_table_reaches_each_destination_by_one_command(lab: Lab) -> None:
    prepare(lab.folder, lab, **DAY)
    for day in ("1", "2"):
        done = run(lab, "--param", f"day={day}")
        assert done.returncode == 0, done.stderr
    assert count_calls(lab.folder) == 2
    correct(lab.folder)
    refused = run(lab)
    assert (refused.returncode, "--fresh" in refused.stderr) == (5, True)
    assert read_table(lab, "1") == rows_of("Ann")
    done = run(lab, "--fresh")
    assert done.returncode == 0, done.stderr
    for day, name in (("1", "Anna"), ("2", "Ann")):
        assert read_table(lab, day) == read_csv(lab.folder, day) == rows_of(name)
    assert run(lab).returncode == 0
    assert count_calls(lab.folder) == 3
    for day in ("1", "2"):
        found = verify(lab.folder / f"out/report_{day}.csv")
        assert found.is_sound, found.findings


def test_rows_are_added_once_and_what_can_not_make_way_is_refused(lab: Lab) -> None:
    prepare(lab.folder, lab)
    assert run(lab).returncode == 0
    assert run(lab, "--param", "day=2").returncode == 0
    assert len(lab.read()) == 6
    correct(lab.folder)
    told = run(lab)
    assert (told.returncode, "refuses --fresh" in told.stderr) == (5, True), told.stderr
    found = batten.diagnose(lab.folder / "out/report_1.csv")
    assert (found.state, "refuses --fresh" in found.reason) == ("STALE", True), found
    assert "--fresh" not in found.next
    refused = run(lab, "--fresh")
    assert refused.returncode == 5, refused.stderr
    assert "holds rows of the old dataset" in refused.stderr
    assert len(lab.read()) == 6


def test_rows_are_merged_by_their_key(lab: Lab) -> None:
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key bigint PRIMARY KEY, name text")
    prepare(lab.folder, lab, key="key")
    assert run(lab).returncode == 0
    correct(lab.folder)
    (lab.folder / "orders_1.csv").write_text("key,id\n1,a\n4,b\n")
    done = run(lab, "--fresh")
    assert done.returncode == 0, done.stderr
    assert read_table(lab, "1") == [(1, "Anna"), (2, "Bob"), (3, "Ann"), (4, "Bob")]
    assert read_csv(lab.folder, "1") == [(1, "Anna"), (4, "Bob")]


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_a_table_alone_may_be_the_destination(lab: Lab) -> None:
    prepare(lab.folder, lab, **DAY)
    text = (lab.folder / "job.py").read_text()
    (lab.folder / "job.py").write_text(
        text.replace('made = made.write_csv("out/report_{day}.csv")', "pass").replace(
            "'day': '{day}'}", "'day': '{day}'}, ledger='loaded/{day}'"
        )
    )
    assert run(lab).returncode == 0
    assert read_table(lab, "1") == rows_of("Ann")
    correct(lab.folder)
    assert run(lab, "--fresh").returncode == 0
    assert read_table(lab, "1") == rows_of("Anna")
    assert batten.diagnose(lab.folder / "loaded/1").state == "COMPLETE"
    with pytest.raises(batten.RefusedError, match=r"is in table rows of .*base\.db alone"):
        batten.open(lab.folder / "loaded/1").export(lab.folder / "copy.csv")


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_the_same_file_as_without_a_second_destination(lab: Lab) -> None:
    """Whatever the types are, and however the rows lay in memory."""
    prepare(lab.folder, lab, mode="replace")
    text = (lab.folder / "job.py").read_text()
    odd = """
import datetime
import pyarrow as pa

def report(orders, names):
    return pa.table({
        "key": pa.array([1, 2], pa.int8()),
        "name": pa.array(["a", "b"]).dictionary_encode(),
        "at": pa.array([datetime.datetime(2026, 1, 1)] * 2, pa.timestamp("s")),
        "day": pa.array([datetime.date(2026, 1, 1)] * 2, pa.date64()),
        "size": pa.array([1.5, None], pa.float16()),
        "text": pa.array(["x", None], pa.large_string()),
    })

def alone(day: str = "1"):
    made = batten.from_tables(orders="orders_{day}.csv", names="names.csv").apply(report)
    return made.write_csv("alone.csv").options(seed=1)
"""
    (lab.folder / "job.py").write_text(text + odd)
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert run(lab, job="job.py:alone").returncode == 0
    alone = (lab.folder / "alone.csv").read_bytes()
    assert (lab.folder / "out/report_1.csv").read_bytes() == alone


@needs_tracing
@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_killed_between_two_destinations_it_is_not_called_again(lab: Lab) -> None:
    prepare(lab.folder, lab, **DAY)
    kill = KillBefore(1, kinds=frozenset({CallKind.WRITE}), path="*/base.db*")
    traced = run_traced(
        [BATTEN, "run", "job.py", "--quiet"],
        folders=[lab.folder],
        fault=kill,
        working_folder=lab.folder,
        environment=dict(os.environ),
    )
    assert traced.hit is not None
    assert (read_csv(lab.folder, "1"), lab.read()) == (rows_of("Ann"), [])
    found = batten.diagnose(lab.folder / "out/report_1.csv")
    assert (found.state, found.exit_code) == ("INTERRUPTED", 10)
    result = lab.folder / "out/report_1.csv.batten/RESULT.parquet"
    assert pq.read_table(result).num_rows == 3
    assert run(lab).returncode == 0
    assert read_table(lab, "1") == rows_of("Ann")
    assert count_calls(lab.folder) == 1


@needs_tracing
@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["torn", "folder", "of other tables"])
def test_a_result_that_can_not_be_used_is_made_anew(lab: Lab, how: str) -> None:
    prepare(lab.folder, lab, **DAY)
    assert run(lab).returncode == 0
    result = lab.folder / "out/report_1.csv.batten/RESULT.parquet"
    (lab.folder / "out/report_1.csv").unlink()
    if how == "torn":
        result.write_bytes(b"PAR1")
    elif how == "of other tables":
        pq.write_table(pq.read_table(next(result.parent.glob("parts/*.parquet"))), result)
    else:
        result.unlink()
        result.mkdir()
        assert run(lab).returncode == 4
        result.rmdir()
    assert run(lab).returncode == 0
    assert read_csv(lab.folder, "1") == rows_of("Ann")


@needs_tracing
@pytest.mark.parametrize("sample", [1, pytest.param(10, marks=pytest.mark.crash)])
@pytest.mark.parametrize(
    ("faults", "codes"),
    [(KILLS, {0}), pytest.param(FAILURES, {0, 7}, marks=pytest.mark.crash)],
    ids=["kills", "failures"],
)
@pytest.mark.parametrize("is_reload", [False, True])
def test_disturbed_around_any_call(
    is_reload: bool,
    faults: list[MakeFault],
    codes: set[int],
    sample: int,
    make_lab: MakeLab,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    """Loaded for the first time, or after a correction: of each day and destination all rows are
    those of before or those of now, and the rows of the other day stay."""
    labs: dict[Path, Lab] = {}
    words = ["--fresh"] if is_reload else []
    before = [rows_of("Ann")] if is_reload else [None, []]
    now = rows_of("Anna" if is_reload else "Ann")

    def begin(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = labs[folder] = make_lab(folder)
        prepare(folder, lab, **DAY)
        assert run(lab, "--param", "day=2").returncode == 0
        if is_reload:
            assert run(lab).returncode == 0
            correct(folder)

    def check_always(folder: Path, trail: Trail) -> None:
        last = trail.last
        assert (last.returncode < 0 and last.fault is not None) or last.returncode in codes
        assert "Traceback" not in last.stderr, last.stderr
        for day in ("1", "2"):
            check_unharmed(folder / f"out/report_{day}.csv", UNHARMED | {State.STALE})
        for found in (read_csv(folder, "1"), read_table(labs[folder], "1")):
            assert found in [*before, now]
        assert read_table(labs[folder], "2") == rows_of("Ann")

    def check(folder: Path, trail: Trail) -> None:
        assert read_csv(folder, "1") == read_table(labs[folder], "1") == now
        states = [batten.diagnose(folder / f"out/report_{day}.csv").state for day in ("1", "2")]
        # What was corrected is a table of the other day, too, which was not loaded again.
        assert states == ["COMPLETE", "STALE" if is_reload else "COMPLETE"]

    experiment = Experiment(
        prepare=begin,
        command=lambda folder: [BATTEN, "run", "job.py", "--quiet", *words],
        folders=lambda folder: [folder / "out", *labs[folder].folders],
        check=check,
        check_always=check_always,
        is_forked=True,
    )
    disturb(
        experiment,
        tmp_path,
        seeded=seeded,
        faults=faults,
        sample=sample,
    )


NAMED = {"sqlite": "table rows of base.db", "delta": "table"}


@pytest.mark.parametrize("make_lab", NAMED, indirect=True)
def test_each_destination_is_named_from_where_one_stands(lab: Lab) -> None:
    """The ledger lies in another folder than the one where the commands are typed."""
    prepare(lab.folder, lab, **DAY)
    named = NAMED[lab.kind]
    assert f"destination: ok; {named} ({lab.kind}) can be reached" in run(lab, "--dry-run").stderr
    assert f"\n  {named}: 3 rows of 1 batch ({lab.kind})\n" in run(lab).stderr
    told = lab.command("diagnose", "out/report_1.csv").stdout
    assert f"  has      {named}: 3 rows\n" in told
    lab.drop()
    told = lab.command("diagnose", "out/report_1.csv").stdout
    assert f"  why      {named}: " in told
    assert f"  found    {named}: " in lab.command("verify", "out/report_1.csv").stdout
