"""A run in a notebook: a real kernel, without a window."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

JOB = """
import batten

def measure(n):
    if n % 5 == 2:
        raise ValueError(f"no {n}")
    return {"n": n}

pipeline = batten.from_range(24).map(measure).options(batch_size=8).write_parquet("out")
"""

RunCells = Callable[..., list[Any]]


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCells:
    """Runs the job's cell, then these; gives what each of these shows."""
    # What the kernel writes of itself has no place in the home folder.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")

    def run(*texts: str) -> list[Any]:
        book = nbformat.v4.new_notebook()
        book.cells = [nbformat.v4.new_code_cell(textwrap.dedent(each)) for each in (JOB, *texts)]
        client = nbclient.NotebookClient(
            book,
            timeout=120,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute()
        assert book.cells[0].outputs == []
        return [cell.outputs for cell in book.cells[1:]]

    return run


def text_of(outputs: list[Any]) -> str:
    return "".join(each.text for each in outputs if each.output_type == "stream")


def test_it_shows_a_bar_the_summary_and_a_table(cells: RunCells) -> None:
    (outputs, plain) = cells("pipeline.run(executor='serial')", "repr(pipeline)")
    told = text_of(outputs)
    assert "24/24" in told, outputs
    assert "First item that failed: '2': ValueError: no 2" in told
    assert "out: complete; the accounts are closed." in told
    assert "QuarantinedWarning: out: 5 of 24 items are quarantined." in told
    shown = outputs[-1].data
    assert shown["text/plain"] == "<Report out: complete; 24 items, 5 quarantined, 19 rows>"
    assert "<table>" in shown["text/html"]
    assert plain[0].data["text/plain"] == "'<Pipeline range → map(measure) → parquet(out)>'"


def test_without_tqdm_there_are_lines(cells: RunCells) -> None:
    hidden = "import sys; sys.modules['tqdm'] = sys.modules['tqdm.auto'] = None"
    _, outputs = cells(hidden, "pipeline.run(executor='serial');")
    told = text_of(outputs)
    assert "24/24" not in told
    assert "out: complete; the accounts are closed." in told


def test_workers_are_shown_the_same(cells: RunCells) -> None:
    (outputs,) = cells("report = pipeline.run(jobs=2, workers='fork')")
    told = text_of(outputs)
    assert "24/24" in told, outputs
    assert "out: complete; the accounts are closed." in told


OWN = """
import random
from dataclasses import dataclass

STEP = 3

@dataclass
class Row:
    value: int
    drawn: float

class Shift:
    def __init__(self):
        self.by = STEP

    def __call__(self, row):
        return Row(row["n"] + self.by, random.random())

made = batten.from_range(24).map(lambda n: {"n": helper(n)}).map(Shift)
mine = made.options(batch_size=8, seed=1).write_parquet("mine")

def helper(n):
    return n * STEP
"""
READ = "print([row['value'] for row in batten.open('mine')], batten.diagnose('mine').state)"


@pytest.mark.parametrize("workers", ["spawn", "fork"])
def test_what_cells_define_works_in_workers(cells: RunCells, workers: str) -> None:
    """Functions, classes, lambdas and constants of `__main__`, as they are when it is run."""
    _, _, first, _, _, again = cells(
        OWN,
        f"report = mine.run(jobs=2, workers={workers!r})",
        READ,
        "STEP = 4",
        f"report = mine.run(jobs=2, workers={workers!r}, fresh=True)",
        READ,
    )
    assert text_of(first) == f"{[3 * n + 3 for n in range(24)]} COMPLETE\n", first
    assert text_of(again) == f"{[4 * n + 4 for n in range(24)]} COMPLETE\n", again


def test_what_is_so_in_every_run_is_told_once_and_a_cell_is_called_one(cells: RunCells) -> None:
    """A kernel has threads of its own. Its cells are files whose names nobody has seen."""
    define = "grown = batten.from_range(5).map(lambda n: {'n': n}).write_parquet('grown')"
    _, first, again, _, refused = cells(
        define,
        "grown.run(jobs=2)",
        "grown.run(jobs=2, fresh=True)",
        "grown = batten.from_range(5).map(lambda n: {'n': n + 1}).write_parquet('grown')",
        "grown.run(jobs=2)",
    )
    assert text_of(first).count("Workers begin in a fresh interpreter") == 1
    assert "Workers begin" not in text_of(again)
    assert "(a cell:1)" in "\n".join(refused[-1].traceback)


def test_an_expected_error_is_three_lines(cells: RunCells) -> None:
    refused, failed, checked = cells(
        "batten.open('nothing')",
        """
        def fail(n):
            raise LookupError("the user's own")

        raising = batten.from_range(3).map(fail).options(on_error="raise")
        raising.write_parquet("other").run(executor="serial", progress=False)
        """,
        "pipeline.run(executor='serial', progress=False, check=True)",
    )
    assert len(refused[-1].traceback) == 3, refused
    assert refused[-1].traceback[0].startswith("UsageError: ")
    shown = "\n".join(failed[-1].traceback)
    assert "FailedRunError: The item '0' failed: LookupError: the user's own" in shown
    assert "in fail" in shown
    assert "batten/drive" not in shown
    assert len(checked[-1].traceback) == 3, checked
    assert checked[-1].traceback[0].startswith("QuarantinedError: out: 5 of 24 items")


def test_what_is_to_be_run_can_be_pasted_into_a_cell(cells: RunCells) -> None:
    """A command of the shell begins with `!` there."""
    outputs, again, looked, checked, slip = cells(
        "pipeline.run(executor='serial')",
        "pipeline.run(executor='serial')",
        "batten.diagnose('out')",
        "pipeline.run(executor='serial', progress=False, check=True)",
        "batten.open('ou')",
    )
    told = text_of(outputs)
    assert "see why: !batten show out\n" in told
    assert told.count("!batten show out") == 2, told
    assert "!batten show out" in outputs[-1].data["text/html"]
    assert "again, by a mended function or the same: run(retry_quarantined=True)" in text_of(again)
    assert "run the job from Python with retry_quarantined=True" in looked[0].data["text/html"]
    assert "!batten show out" in checked[-1].traceback[-1]
    assert slip[-1].traceback[-1].endswith("near it is: !batten diagnose out")
