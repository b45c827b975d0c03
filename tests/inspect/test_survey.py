"""Several outputs at once: found by a pattern, or expected and not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from batten.cli.main import main
from batten.errors import StorageError, UsageError
from batten.inspect.survey import Survey, survey
from batten.model.telling.run_keys import fill_in, list_expected

Days = Callable[[], Path]
WithoutPermission = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def days(build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # type: ignore[no-untyped-def]
    """`out/refunds_2026-04-01` to `-05`: complete, interrupted, not run, damaged, orphans."""
    built = build()
    for day, break_it in (
        ("01", lambda root: None),
        ("02", lambda root: (root / "features.batten/COMPLETE").unlink()),
        ("04", lambda root: (root / "features/part-000001.parquet").write_bytes(b"PAR1")),
        (
            "05",
            lambda root: (root / "features.batten/staging/put.host-1-0a1b2c3d4e5f6071").write_bytes(
                b"x"
            ),
        ),
    ):
        copy = tmp_path / "copy"
        for suffix in ("", ".batten"):
            shutil.copytree(f"{built.path}{suffix}", f"{copy}/features{suffix}")
        break_it(copy)
        (tmp_path / "out").mkdir(exist_ok=True)
        for suffix in ("", ".batten"):
            shutil.move(f"{copy}/features{suffix}", f"{tmp_path}/out/refunds_2026-04-{day}{suffix}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def states(found: Survey) -> dict[str, str]:
    return {each.path.rpartition("-")[2]: each.state.value for each in found.diagnoses}


FOUND = {
    "01": "COMPLETE",
    "02": "INTERRUPTED",
    "04": "CORRUPT",
    "05": "COMPLETE_WITH_ORPHANS",
}


@pytest.mark.parametrize("pattern", ["out/refunds_*", "out/refunds_{run_date}", "out/*-??"])
def test_a_pattern_finds_every_output_once(days: Path, pattern: str) -> None:
    assert states(survey([pattern])) == FOUND


def test_an_output_of_which_only_the_control_folder_is_there_is_found(days: Path) -> None:
    shutil.rmtree(days / "out/refunds_2026-04-02")
    assert states(survey(["out/refunds_*"]))["02"] == "INCONSISTENT"


def test_paths_that_a_shell_expanded_name_each_output_once(days: Path) -> None:
    assert states(survey([str(path) for path in (days / "out").iterdir()])) == FOUND


@pytest.mark.parametrize("pattern", ["out/refunds_*", "out/refunds_{run_date}"])
def test_days_that_are_expected_and_not_there_are_told(days: Path, pattern: str) -> None:
    found = survey([pattern], ["run_date=2026-04-01..2026-04-06"])
    assert states(found) == FOUND | {"03": "NEW", "06": "NEW"}
    assert found.to_json()["missing"] == ["out/refunds_2026-04-03", "out/refunds_2026-04-06"]
    assert list(found.to_json()["states"]) == [
        *("CORRUPT", "INTERRUPTED", "NEW", "COMPLETE_WITH_ORPHANS", "COMPLETE")
    ]


@pytest.mark.parametrize(
    ("gone", "exit_code"),
    [([], 4), (["04"], 10), (["04", "02"], 11), (["04", "02", "05"], 0)],
)
def test_the_exit_code_is_that_of_the_most_urgent(
    days: Path, gone: list[str], exit_code: int
) -> None:
    for day in gone:
        for suffix in ("", ".batten"):
            shutil.rmtree(days / f"out/refunds_2026-04-{day}{suffix}")
    assert survey(["out/refunds_*"]).exit_code == exit_code


def test_the_command_prints_a_table_or_one_object(
    days: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["diagnose", "out/refunds_*", "--expect", "run_date=2026-04-01..2026-04-03"]
    assert main(words) == 4
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == "5 outputs: 1 CORRUPT, 1 INTERRUPTED, 1 NEW, 1 COMPLETE_WITH_ORPHANS, 1 COMPLETE"
    )
    assert [line.split()[0] for line in lines[1:]] == [
        *("CORRUPT", "INTERRUPTED", "NEW", "COMPLETE_WITH_ORPHANS", "COMPLETE")
    ]
    assert main([*words, "--json"]) == 4
    assert len(json.loads(capsys.readouterr().out)["outputs"]) == 5


def test_a_file_whose_name_is_a_pattern_means_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out[1]").mkdir()
    assert main(["diagnose", str(tmp_path / "out[1]")]) == 10
    assert capsys.readouterr().out.startswith("NEW")


@pytest.mark.parametrize(
    ("pattern", "expectations", "paths"),
    [
        ("a_*", ["day=2026-02-27..2026-03-01"], ["a_2026-02-27", "a_2026-02-28", "a_2026-03-01"]),
        ("{hour}", ["hour=08..10"], ["08", "09", "10"]),
        ("{n}", ["n=8..10"], ["8", "9", "10"]),
        ("{r}_{n}", ["r=eu,us", "n=1..2"], ["eu_1", "eu_2", "us_1", "us_2"]),
        ("{d}/{d}", ["d=1,3..4,1"], ["1/1", "3/3", "4/4"]),
        ("a", [], []),
    ],
)
def test_what_is_expected(pattern: str, expectations: list[str], paths: list[str]) -> None:
    assert list_expected(pattern, expectations) == paths


@pytest.mark.parametrize(
    ("pattern", "expectation"),
    [
        ("a_*", "run_date"),
        ("a_*", "run_date="),
        ("a_*", "=1"),
        ("a_*", "n=2..1"),
        ("a_*", "n=1..x"),
        ("a_*", "n=2026-04-02..2026-04-01"),
        ("a_*", "n=0..100000000000"),
        ("a_*_*", "n=1"),
        ("a", "n=1"),
        ("a_{m}", "n=1"),
        ("a_{m}_{n}", "n=1"),
    ],
)
def test_an_expectation_that_is_not_clear_is_refused(pattern: str, expectation: str) -> None:
    with pytest.raises(UsageError):
        list_expected(pattern, [expectation])


@pytest.mark.parametrize(
    ("expectation", "problem"),
    [
        ("d=2026-02-30", "names 2026-02-30, which is no day"),
        ("d=2026-02-27,2026-02-30", "names 2026-02-30, which is no day"),
        ("d=2026-02-27..2026-02-30", "names 2026-02-30, which is no day"),
        ("d=2026-04-02..2026-04-01", "ends before it begins"),
        ("d=2..1", "ends before it begins"),
        ("d=1..100001", "names 100,001 values; 100,000 are the most"),
        ("d=0001-01-01..9999-12-31", "values; 100,000 are the most"),
        ("d=1.." + "9" * 5000, "names no values"),
    ],
)
def test_what_is_wrong_with_an_expectation_is_told(expectation: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        list_expected("a_{d}", [expectation])


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    days: Path, without_permission: WithoutPermission
) -> None:
    with without_permission(days / "out"), pytest.raises(StorageError, match="permission"):
        survey(["out/refunds_*"])


def test_a_wildcard_that_stands_for_more_than_the_value_is_refused(days: Path) -> None:
    with pytest.raises(UsageError, match=r"'out/\*' expects 'out/2026-04-01', and 'out/refunds_"):
        survey(["out/*"], ["run_date=2026-04-01..2026-04-03"])
    assert len(survey(["out/refunds_*"], ["run_date=2026-03-01..2026-03-03"]).diagnoses) == 7


def test_a_day_that_the_calendar_has_not_is_named() -> None:
    with pytest.raises(UsageError, match="names 2026-02-30, which is no day"):
        list_expected("a_*", ["run_date=2026-02-27..2026-02-30"])


def test_nothing_found_is_not_all_well(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing is found"):
        survey([f"{tmp_path}/refunds_*"])


def test_a_name_without_value_is_named() -> None:
    with pytest.raises(UsageError, match="'run_date'"):
        fill_in("out/{run_date}.csv", {})
