"""A table that changes while it is read: the report is of the one content or of the other, or there
is none, and the next run makes it of what is there then."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Meanwhile, Victims
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import CallKind
from batten.errors import InterruptedRunError
from batten.sources.whole_tables import TableSource

BATTEN = str(Path(sys.executable).with_name("batten"))
COMMAND = [BATTEN, "run", "job.py", "--quiet"]
READ = frozenset({CallKind.READ})
EXIT_INTERRUPTED = 75

JOB = """
import batten

def report(orders):
    return orders

pipeline = batten.from_tables(orders="in/orders.csv").apply(report).write_csv("out/report.csv")
"""
BEFORE, AFTER = '"id"\n1\n2\n', '"id"\n1\n2\n3\n'


def prepare(folder: Path) -> None:
    (folder / "in").mkdir(parents=True)
    (folder / "job.py").write_text(JOB)
    (folder / "in/orders.csv").write_text("id\n1\n2\n")


@needs_tracing
def test_it_gets_a_row_before_any_read_of_it(tmp_path: Path) -> None:
    first = tmp_path / "first"
    prepare(first)
    calls = run_traced(COMMAND, folders=[first / "in"], kinds=READ, working_folder=first).calls
    ends = []
    for number in range(1, len(calls) + 1):
        folder = tmp_path / str(number)
        prepare(folder)
        report = folder / "out/report.csv"
        add = ("sh", "-c", f"echo 3 >> {folder}/in/orders.csv")
        fault = Meanwhile(number, kinds=READ, command=add, victims=Victims.NOBODY)
        run = run_traced(
            COMMAND, folders=[folder / "in"], kinds=READ, fault=fault, working_folder=folder
        )
        assert run.was_triggered
        assert "Traceback" not in run.stderr, run.stderr
        ends.append(run.returncode)
        if run.returncode:
            assert (run.returncode, report.exists()) == (EXIT_INTERRUPTED, False), run.stderr
            assert "was changed while it was read" in run.stderr
        else:
            assert report.read_text() in (BEFORE, AFTER)
        again = run_traced([*COMMAND, "--fresh"], folders=[], working_folder=folder)
        assert again.returncode == 0, again.stderr
        assert report.read_text() == AFTER
        assert batten.diagnose(report).state == "COMPLETE"
    assert EXIT_INTERRUPTED in ends


@pytest.mark.parametrize("how", ["longer", "of the same size and time"])
def test_it_is_another_when_it_is_loaded(how: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id\n1\n2\n")
    before = path.stat()
    source = TableSource({"orders": "orders.csv"}, folder=tmp_path)
    list(source.scan())
    assert source.load()["orders"].num_rows == 2
    if how == "longer":
        path.write_text("id\n1\n2\n3\n")
    else:
        (tmp_path / "new").write_text("id\n1\n7\n")
        os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "new").rename(path)
    with pytest.raises(InterruptedRunError, match="was changed while it was read"):
        source.load()
