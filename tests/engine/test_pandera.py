"""Schemas of pandera as checks: of each row, and of the rows of a batch."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.run.identity import identify_pipeline

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pandera = pytest.importorskip("pandera.pandas")
    pandera_polars = pytest.importorskip("pandera.polars")


class Scores(pandera.DataFrameModel):
    score: float = pandera.Field(ge=0)
    note: str

    @pandera.check("note")
    def is_short(cls, notes: Any) -> Any:
        return notes.str.len() < 5


class PolarsScores(pandera_polars.DataFrameModel):
    score: float = pandera_polars.Field(ge=0, le=2)
    note: str


def declare(most: float, library: Any = pandera) -> Any:
    return library.DataFrameSchema(
        {
            "score": library.Column(float, library.Check.in_range(0, most)),
            "note": library.Column(str),
        },
        name="scores",
    )


def score(number: int) -> dict[str, Any]:
    return {"score": number - 0.5, "note": "long" * number}


@pytest.mark.parametrize(
    ("schema", "failed", "reason"),
    [
        (declare(2), ["0", "3"], "the check scores says no: score: in_range(0, 2), found -0.5"),
        (declare(2, pandera_polars), ["0", "3"], "the check scores says no: score: in_range(0"),
        (Scores, ["0", "2", "3"], "score: greater_than_or_equal_to(0), found -0.5"),
        (PolarsScores, ["0", "3"], "the check PolarsScores says no: score: greater_than_or_equal"),
    ],
    ids=["pandas", "polars", "model", "polars model"],
)
def test_rows_that_fail_are_quarantined_with_the_reason(
    schema: Any, failed: list[str], reason: str, tmp_path: Path
) -> None:
    made = batten.from_range(4).map(score).check(schema)
    report = made.write_parquet(tmp_path / "out").run(executor="serial")
    assert report.quarantined == len(failed)
    found = batten.open(tmp_path / "out").quarantined()
    assert [each.key for each in found] == failed
    assert reason in found[0].error


@pytest.mark.parametrize("library", [pandera, pandera_polars], ids=["pandas", "polars"])
def test_a_batch_that_fails_is_held_back(library: Any, tmp_path: Path) -> None:
    unique = library.DataFrameSchema({"note": library.Column(str, unique=True)}, name="notes")
    made = batten.from_items(["a", "b", "c", "c"]).map(lambda text: {"note": text})
    pipeline = made.options(batch_size=2).check_batches(unique).write_parquet(tmp_path / "out")
    with pytest.raises(batten.FailedRunError) as refused:
        pipeline.run(executor="serial")
    assert "Batch 1, 2 rows, is held back: the check notes says no" in str(refused.value)
    found = batten.open(tmp_path / "out", allow_incomplete=True)
    assert found.count_rows() == 2


def test_another_schema_is_another_job(tmp_path: Path) -> None:
    def identify(schema: Any) -> str:
        made = batten.from_range(4).map(score).check(schema).write_parquet(tmp_path / "out")
        return identify_pipeline(made, {}).fingerprint.digest

    assert identify(declare(2)) == identify(declare(2))
    assert identify(declare(2)) != identify(declare(3))
    assert identify(declare(2)) != identify(declare(2, pandera_polars))


def test_the_same_schema_is_the_same_job_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import warnings; warnings.simplefilter('ignore')\n"
        "import batten, pandera.pandas as pa\n"
        "schema = pa.DataFrameSchema({'n': pa.Column(int, [pa.Check.isin([1, 2, 3]), "
        "pa.Check(lambda s: s > 0)], coerce=True)})\n"
        "pipeline = batten.from_range(3).map(lambda n: {'n': n + 1}).check(schema)"
        ".write_parquet('out')\n"
    )
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "batten", "run", "job.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
