"""200 PDFs taken into the knowledge base of the examples, by one job and by two: converting a PDF,
with a drawing on each of its pages, takes most of the time. Beside it, what a second processor
gives to bare processes that do nothing but convert: no job can gain more."""

from __future__ import annotations

import random
import runpy
from math import inf
from pathlib import Path

from benchmarks.measure import JOBS, PYTHON, Figure, Pairs, Side, fresh, run

EXAMPLE = Path(__file__).parents[1] / "examples" / "knowledge_base"

DOCUMENTS = 200
PAGES = 12
LINES_A_PAGE = 50
STROKES = 70_000

BARE_DOCUMENTS = 10
"""Each bare process converts so many."""


def measure(folder: Path, runs: int) -> list[Figure]:
    fill(folder / "shelf")
    one, two = (
        Side(
            command=[
                *(PYTHON, str(EXAMPLE / "knowledge_base.py")),
                *("ingest", "shelf", "--jobs", str(jobs)),
            ],
            folder=folder,
            reset=fresh(folder, "knowledge", "knowledge.batten", "knowledge.prepared"),
        )
        for jobs in (1, 2)
    )
    # One pair, and none before it that is not counted: it takes a minute.
    pairs = Pairs(ours=[run(one)], theirs=[run(two)])
    what = f"{DOCUMENTS} PDFs, seconds with one job / with two"
    return [pairs.figure(what, "at least 1.8"), measure_bare(folder)]


def measure_bare(folder: Path) -> Figure:
    seconds = {1: inf, 2: inf}
    for processes in (1, 2, 1, 2):
        command = [PYTHON, str(JOBS / "convert_pdfs.py"), str(EXAMPLE), "shelf"]
        side = Side(command=[*command, str(BARE_DOCUMENTS), str(processes)], folder=folder)
        seconds[processes] = min(seconds[processes], float(run(side).output))
    return Figure(
        what="the same of bare processes, each on half of what is only converted",
        figure=f"{2 * seconds[1] / seconds[2]:.2f}",
        limit="none",
        basis=f"{BARE_DOCUMENTS} PDFs each: {seconds[1]:.2f} s one, {seconds[2]:.2f} s two at once",
    )


def fill(shelf: Path) -> None:
    """The same drawing on all pages, and a few words on each."""
    make_pdf = runpy.run_path(str(EXAMPLE / "make_pdf.py"))["make_pdf"]
    shelf.mkdir(parents=True)
    random.seed(0)
    strokes = (f"{random.randrange(595)} {random.randrange(842)} l" for _ in range(STROKES))
    drawing = "\n".join(["0 0 m", *strokes, "S"]).encode()
    for number in range(DOCUMENTS):
        lines = [f"Plan {number} of the Harbour Office"] * (PAGES * LINES_A_PAGE)
        pdf = make_pdf(lines, title=f"Plan {number}", figure=drawing)
        (shelf / f"plan-{number:03}.pdf").write_bytes(pdf)
