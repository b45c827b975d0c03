"""A path that names no output: what it is, and the command that was likely meant."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

import batten
from batten.cli.main import main
from batten.inspect.diagnose import diagnose
from batten.inspect.diagnosis import Diagnosis

JOB = """
import datetime
import batten

def pipeline(run_date: datetime.date, region: str = "eu"):
    return batten.from_range(3).map(lambda n: {"n": n}).write_csv("refunds_{run_date}_{region}.csv")
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with outputs of two days of a job, and of another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daily.py").write_text(JOB)
    for day in ("2026-04-23", "2026-04-24"):
        assert main(["run", "daily.py", "--quiet", "--jobs", "1", f"--param=run_date={day}"]) == 0
    batten.from_range(3).write_parquet("features").run(jobs=1, executor="serial")
    return tmp_path


def words(found: Diagnosis) -> list[str]:
    return shlex.split(found.next)


def test_a_slip_of_the_finger(made: Path) -> None:
    for slip in ("featurs", "features2", "./feature"):
        found = diagnose(slip)
        assert (found.state, found.exit_code) == ("NEW", 10)
        assert found.next.startswith("look at the name; near it is: batten diagnose ")
        assert found.next.endswith("features")
        assert any("features" in hint for hint in found.hints)
    assert diagnose("nothing-like-it").next.startswith("batten run JOB.py")


@pytest.mark.parametrize("words", [["show"], ["verify"], ["report"], ["export", "to.csv"]])
def test_commands_that_need_an_output_say_the_same(
    made: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(made.rglob("*"))
    slips = {
        "featurs": "Look at the name; near it is: batten diagnose features",
        "features/made/up": "It lies within the output features: batten diagnose features",
        "nothing-like-it": "Name the output of a job.",
    }
    for slip, told in slips.items():
        assert main([words[0], slip, *words[1:]]) == 2
        out, err = capfd.readouterr()
        assert (out, err.splitlines()[0]) == ("", f"There is no output {slip}.")
        assert err.splitlines()[-1] == told
    with pytest.raises(batten.UsageError, match="near it is: batten diagnose features"):
        batten.open("featurs")
    assert sorted(made.rglob("*")) == before


def test_a_page_of_what_is_expected_or_partly_there_is_made(
    made: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "absent", "neither"]) == 2
    assert not Path("report.html").exists()
    assert main(["report", "featurs", "features"]) == 0
    expected = ["refunds_{run_date}_us.csv", "--expect", "run_date=2026-04-23..2026-04-24"]
    assert main(["report", *expected]) == 0
    assert "2 outputs, 2 NEW" in capfd.readouterr().out


def test_a_day_that_is_missing(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = diagnose("refunds_2026-04-25_eu.csv")
    assert found.state == "NEW"
    assert found.next == "batten run daily.py --param run_date=2026-04-25 --jobs 1"
    assert any("refunds_2026-04-24_eu.csv was made by" in hint for hint in found.hints)
    assert main(words(found)[1:]) == 0
    assert diagnose("refunds_2026-04-25_eu.csv").state == "COMPLETE"
    assert diagnose("refunds_2026-04-24_us.csv").next.endswith("--jobs 1")
    assert "--param region=us" in diagnose("refunds_2026-04-24_us.csv").next


def test_missing_days_of_a_survey(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from batten.inspect.survey import survey

    pattern = "refunds_{run_date}_eu.csv"
    found = survey([pattern], ["run_date=2026-04-22..2026-04-25"])
    nexts = [each.next for each in found.diagnoses if each.state == "NEW"]
    assert nexts == [
        f"batten run daily.py --param run_date=2026-04-{day} --jobs 1" for day in (22, 25)
    ]


def test_another_name_is_no_missing_day(made: Path) -> None:
    assert "look at the name" in diagnose("refund_2026-04-24_eu.csv").next


@pytest.mark.parametrize(
    "within",
    [
        "features/part-000000.parquet",
        "features/part-999999.parquet",
        "features.batten/dataset.json",
        "features.batten/commits",
        "features/made/up/name",
    ],
)
def test_what_lies_within_an_output(made: Path, within: str) -> None:
    found = diagnose(within)
    assert found.next == "batten diagnose features"
    assert "it lies within the output features" in found.reason
    assert found.exit_code == (5 if os.path.exists(within) else 10)


def test_what_is_something_else(made: Path) -> None:
    cache = batten.Cache("kept")
    with cache.get_or_create(1, lambda folder: None):
        pass
    assert diagnose("kept").next == "batten cache show kept"
    (made / "other.py").write_text("")
    found = diagnose("other.py")
    assert found.exit_code == 5
    assert found.next.endswith("batten run other.py --dry-run")
    assert "it is a program" in found.reason
    (made / "outer").mkdir()
    (made / "features").rename(made / "outer" / "features")
    (made / "features.batten").rename(made / "outer" / "features.batten")
    assert words(diagnose("outer")) == ["batten", "diagnose", "outer/*"]


@pytest.mark.parametrize("name", ["daily.py", "daily.py:pipeline"])
def test_a_job_has_outputs(made: Path, name: str) -> None:
    """They are named, and copies of them are not."""
    for end in ("", ".batten"):
        shell_copy(made / f"refunds_2026-04-24_eu.csv{end}", made / f"copy.csv{end}")
    found = diagnose(name)
    assert found.action == "look"
    assert "it is a job, and no output" in found.reason
    outputs = [f"refunds_2026-04-{day}_eu.csv" for day in (23, 24)]
    assert words(found) == ["batten", "diagnose", *outputs]
    assert main(words(found)[1:]) == 0


def shell_copy(found: Path, to: Path) -> None:
    shutil.copytree(found, to) if found.is_dir() else shutil.copy(found, to)


def test_a_folder_that_is_not_there(made: Path) -> None:
    found = diagnose("nope/deeper/x")
    assert (found.state, found.exit_code, found.action) == ("NEW", 10, "look")
    assert "the folder nope is not there either" in found.reason
    assert found.next.startswith("look at the path; if it is right, run its job: batten run JOB.py")
    (made / "deep" / "sub").mkdir(parents=True)
    for end in ("", ".batten"):
        (made / f"features{end}").rename(made / "deep" / "sub" / f"features{end}")
    for slip in ("deap/sub/features", "deep/sbu/features"):
        assert diagnose(slip).next.endswith(": batten diagnose deep/sub/features")


def test_what_only_a_person_knows(made: Path) -> None:
    (made / "notes.txt").write_text("notes")
    assert diagnose("notes.txt").next == "look at notes.txt by hand"
