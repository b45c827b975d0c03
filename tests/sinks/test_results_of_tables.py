"""What a function of whole tables made stays with its ledger. The function here gives other rows
each time: two destinations never hold those of two calls."""

from __future__ import annotations

import random
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.promises import UNHARMED
from batten.crashlab.sweeping import KILLS, Experiment, Trail, disturb
from batten.inspect.verifying.verify import verify

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

BATTEN = str(Path(sys.executable).with_name("batten"))
RESULT = "out/report.csv.batten/RESULT.parquet"

JOB = """
    from pathlib import Path

    import batten
    import pyarrow as pa

    def report(orders):
        with open("calls", "a") as file:
            file.write("x\\n")
        call = len(Path("calls").read_text().splitlines())
        return pa.table({"key": orders["key"], "name": [f"call {call}"] * len(orders)})

    def pipeline():
        made = batten.from_tables(orders="orders.csv").apply(report).write_csv("out/report.csv")
        return made
"""


def prepare(folder: Path, lab: Lab, **options: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    call = lab.call.replace(', ledger="rows"', "")[:-1] + given + ")"
    (folder / "job.py").write_text(textwrap.dedent(JOB).rstrip() + call + "\n")
    (folder / "orders.csv").write_text("key\n1\n2\n")


def run(lab: Lab, *words: str) -> Any:
    return lab.command("run", "job.py", "--quiet", *words)


def lose(lab: Lab) -> None:
    """Somebody dropped the table, with what tells that it was filled."""
    lab.drop()
    lab.forget()


def rows_of(call: int) -> list[tuple[int, str]]:
    return [(1, f"call {call}"), (2, f"call {call}")]


def read_csv(folder: Path) -> list[tuple[int, str]] | None:
    path = folder / "out/report.csv"
    if not path.exists():
        return None
    lines = path.read_text().replace('"', "").splitlines()[1:]
    return [(int(key), name) for key, name in (line.split(",") for line in lines)]


def read_table(lab: Lab) -> list[tuple[int, str]]:
    return sorted((row["key"], row["name"]) for row in lab.read())


def count_calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_a_lost_table_is_given_the_rows_that_the_file_has(lab: Lab) -> None:
    prepare(lab.folder, lab, mode="replace")
    assert run(lab).returncode == 0
    lose(lab)
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert read_table(lab) == read_csv(lab.folder) == rows_of(1)
    assert count_calls(lab.folder) == 1


def test_a_lost_file_is_given_the_rows_that_the_table_has(lab: Lab) -> None:
    prepare(lab.folder, lab)
    assert run(lab).returncode == 0
    (lab.folder / "out/report.csv").unlink()
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert read_table(lab) == read_csv(lab.folder) == rows_of(1)


@pytest.mark.parametrize("how", ["gone", "torn", "other"])
def test_rows_of_another_call_are_given_to_every_destination(lab: Lab, how: str) -> None:
    """Where what the function made is lost with one of them."""
    prepare(lab.folder, lab, mode="replace")
    assert run(lab).returncode == 0
    harm(lab.folder / RESULT, how)
    lose(lab)
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert read_table(lab) == read_csv(lab.folder) == rows_of(2)
    assert verify(lab.folder / "out/report.csv").is_sound
    harm(lab.folder / RESULT, how)
    (lab.folder / "out/report.csv").unlink()
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert read_table(lab) == read_csv(lab.folder) == rows_of(3)
    assert run(lab).returncode == 0
    assert count_calls(lab.folder) == 3


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_verify_tells_a_result_that_is_damaged(lab: Lab) -> None:
    prepare(lab.folder, lab, mode="replace")
    assert run(lab).returncode == 0
    output = lab.folder / "out/report.csv"
    assert not verify(output).findings
    harm(lab.folder / RESULT, "other")
    found = verify(output)
    assert [each.code.value for each in found.findings] == ["damaged-result"]
    assert found.is_sound
    (lab.folder / RESULT).unlink()
    assert not verify(output).findings


def harm(result: Path, how: str) -> None:
    if how == "gone":
        result.unlink()
    elif how == "torn":
        result.write_bytes(result.read_bytes()[:-9])
    else:
        # One letter of a column's name: no checksum of a page is of it.
        data = result.read_bytes()
        assert data.count(b"name") > 1
        result.write_bytes(data.replace(b"name", b"nama"))


def test_rows_of_another_call_are_not_set_beside_rows_that_stay(lab: Lab) -> None:
    """Nothing is put anywhere: else the file would have other rows than the table."""
    prepare(lab.folder, lab)
    assert run(lab).returncode == 0
    (lab.folder / RESULT).unlink()
    (lab.folder / "out/report.csv").unlink()
    for _ in range(2):
        refused = run(lab)
        assert (refused.returncode, "would stand beside" in refused.stderr) == (5, True), refused
        assert (read_table(lab), read_csv(lab.folder)) == (rows_of(1), None)


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_a_destination_that_is_added_gets_the_same_rows(lab: Lab) -> None:
    prepare(lab.folder, lab, mode="replace")
    assert run(lab).returncode == 0
    job = lab.folder / "job.py"
    job.write_text(job.read_text().rstrip() + '.write_jsonl("out/report.jsonl")\n')
    assert run(lab).returncode == 0
    assert (lab.folder / "out/report.jsonl").read_text().count("call 1") == 2
    assert count_calls(lab.folder) == 1


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_a_file_that_is_left_alone_stays(lab: Lab) -> None:
    prepare(lab.folder, lab, mode="replace")
    assert run(lab).returncode == 0
    job = lab.folder / "job.py"
    job.write_text(job.read_text().partition(".write_sqlite")[0] + "\n")
    for _ in range(2):
        assert run(lab).returncode == 0
        assert (read_csv(lab.folder), count_calls(lab.folder)) == (rows_of(1), 1)


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_a_file_of_before_gets_the_rows_of_the_table_that_is_added(lab: Lab) -> None:
    """A job with a single file keeps no result."""
    prepare(lab.folder, lab, mode="replace")
    job = lab.folder / "job.py"
    text = job.read_text()
    job.write_text(text.partition(".write_sqlite")[0] + "\n")
    assert run(lab).returncode == 0
    assert not (lab.folder / RESULT).exists()
    job.write_text(text)
    assert run(lab).returncode == 0
    assert read_table(lab) == read_csv(lab.folder) == rows_of(2)


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_one_of_three_refuses_and_all_have_the_rows_of_one_call_when_it_is_mended(lab: Lab) -> None:
    prepare(lab.folder, lab, mode="replace")
    job = lab.folder / "job.py"
    job.write_text(job.read_text().rstrip() + '.write_delta("lake", mode="replace")\n')

    def read_lake() -> list[tuple[int, str]]:
        rows = deltalake.DeltaTable(lab.folder / "lake").to_pyarrow_table().to_pylist()
        return sorted((row["key"], row["name"]) for row in rows)

    assert run(lab).returncode == 0
    assert read_table(lab) == read_csv(lab.folder) == read_lake() == rows_of(1)
    lab.ask("ALTER TABLE rows ADD CONSTRAINT old CHECK (name = 'call 1')")
    for words in (["--fresh"], []):
        refused = run(lab, *words)
        assert (refused.returncode, "can't hold a row" in refused.stderr) == (5, True)
        assert "Traceback" not in refused.stderr
        assert read_csv(lab.folder) == rows_of(2)
        assert read_table(lab) == read_lake() == rows_of(1)
        found = batten.diagnose(lab.folder / "out/report.csv")
        assert (found.state, found.action) == ("INTERRUPTED", "run")
    lab.ask("ALTER TABLE rows DROP CONSTRAINT old")
    done = run(lab)
    assert done.returncode == 0, done.stderr
    assert read_table(lab) == read_csv(lab.folder) == read_lake() == rows_of(2)
    assert count_calls(lab.folder) == 2
    assert verify(lab.folder / "out/report.csv").is_sound


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(12, marks=pytest.mark.crash)])
@pytest.mark.parametrize("lost", ["table", "file"])
def test_killed_around_any_call_while_what_was_lost_is_made_again(
    lost: str, sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    labs: dict[Path, Lab] = {}

    def begin(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = labs[folder] = make_lab(folder)
        prepare(folder, lab, mode="replace")
        assert run(lab).returncode == 0
        (folder / RESULT).unlink()
        if lost == "table":
            lose(lab)
        else:
            (folder / "out/report.csv").unlink()

    def check_always(folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        check_unharmed(folder / "out/report.csv", UNHARMED)
        calls = [rows_of(call) for call in range(1, 9)]
        assert read_csv(folder) in [None, *calls]
        assert read_table(labs[folder]) in [[], *calls]

    def check(folder: Path, trail: Trail) -> None:
        found = read_csv(folder)
        assert found is not None
        assert (found, found != rows_of(1)) == (read_table(labs[folder]), True)
        assert batten.diagnose(folder / "out/report.csv").state == "COMPLETE"

    experiment = Experiment(
        prepare=begin,
        command=lambda folder: [BATTEN, "run", "job.py", "--quiet"],
        folders=lambda folder: [folder / "out", *labs[folder].folders],
        check=check,
        check_always=check_always,
        is_forked=True,
    )
    disturb(experiment, tmp_path, seeded=seeded, faults=KILLS, sample=sample)
