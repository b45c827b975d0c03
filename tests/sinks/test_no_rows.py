"""A job whose items give no rows at first: its columns are not known yet. It is complete, day by
day, and when rows come they stand where they are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Lab

MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "by the item's key": {"key": "key"},
    "by another column": {"key": "name"},
    "replace": {"mode": "replace"},
    "replace a day": {"mode": "replace", "where": {"day": "1"}},
}
FILES: dict[str, Callable[[Pipeline], Pipeline]] = {
    "out": lambda made: made.write_parquet("out"),
    "divided": lambda made: made.write_parquet("divided", partition_by="name"),
    "out.csv": lambda made: made.write_csv("out.csv"),
    "out.jsonl": lambda made: made.write_jsonl("out.jsonl"),
}


def name(item: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"n{item['number']}"}


def is_large(item: dict[str, Any]) -> bool:
    return bool(item["number"] >= 4)


def job(folder: Path, numbers: range) -> Pipeline:
    lines = "".join(json.dumps({"number": number}) + "\n" for number in numbers)
    (folder / "in.jsonl").write_text(lines)
    source = batten.from_jsonl(folder / "in.jsonl", key="number")
    return source.filter(is_large).map(name).options(batch_size=2)


def run(pipeline: Pipeline) -> int:
    return int(pipeline.run(executor="serial", progress=False).rows)


def check(output: Path) -> None:
    found = batten.diagnose(output)
    assert found.state == "COMPLETE", found
    assert verify(output).is_sound
    assert verify(output, should_ask=True).is_sound


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "lab" in request.fixturenames:
        lab = request.getfixturevalue("lab")
        if lab.kind == "postgres":
            name = lab.ask("SELECT current_user AS name")[0]["name"]
            monkeypatch.setenv("PGUSER", name)


@pytest.mark.parametrize("mode", MODES)
def test_a_table_gets_its_first_rows_in_a_later_run(mode: str, lab: Lab) -> None:
    for numbers in (range(0), range(3), range(4)):
        made = lab.write(job(lab.folder, numbers), **MODES[mode])
        assert run(made) == 0
        assert run(made) == 0
        check(lab.folder / "rows")
    made = lab.write(job(lab.folder, range(7)), **MODES[mode])
    assert run(made) == 3
    assert [row["name"] for row in lab.read()] == ["n4", "n5", "n6"]
    check(lab.folder / "rows")
    assert run(made) == 3
    more = lab.write(job(lab.folder, range(12)), **MODES[mode])
    assert run(more) == 8
    assert len(lab.read()) == 8
    check(lab.folder / "rows")


@pytest.mark.parametrize("mode", MODES)
def test_batches_without_rows_come_before_others(mode: str, lab: Lab) -> None:
    made = lab.write(job(lab.folder, range(9)), **MODES[mode])
    assert run(made) == 5
    assert [row["name"] for row in lab.read()] == ["n4", "n5", "n6", "n7", "n8"]
    check(lab.folder / "rows")


def test_another_dataset_fills_a_table_that_a_day_without_rows_made(lab: Lab) -> None:
    for day, numbers in (("1", range(3)), ("2", range(6))):
        made = lab.write(job(lab.folder, numbers), mode="replace", where={"day": day})
        made = replace(made, output=lab.folder / f"day{day}", written_output=f"day{day}")
        assert run(made) == max(0, len(numbers) - 4)
    assert [(row["day"], row["name"]) for row in lab.read()] == [("2", "n4"), ("2", "n5")]


@pytest.mark.parametrize("output", FILES)
def test_files_get_their_first_rows_in_a_later_run(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for numbers in (range(0), range(3), range(4), range(7), range(12)):
        made = FILES[output](job(tmp_path, numbers))
        for _ in range(2):
            assert run(made) == max(0, len(numbers) - 4)
            check(tmp_path / output)


@pytest.mark.parametrize("output", ["out", "divided", "out.csv"])
def test_items_that_all_fail_give_no_rows(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(number: int) -> dict[str, Any]:
        raise ValueError(number)

    made = FILES[output](batten.from_range(3).map(fail).options(stop_when=None))
    with pytest.warns(batten.QuarantinedWarning):
        assert run(made) == 0
    check(tmp_path / output)
