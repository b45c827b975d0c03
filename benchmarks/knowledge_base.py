"""200 PDFs taken into the knowledge base of the examples, by one job and by two: converting a PDF,
with a drawing on each of its pages, takes most of the time."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

from benchmarks.measure import PYTHON, Figure, Side, compare, fresh

EXAMPLE = Path(__file__).parents[1] / "examples" / "knowledge_base"

DOCUMENTS = 200
PAGES = 12
LINES_A_PAGE = 50
STROKES = 60_000


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
    what = f"{DOCUMENTS} PDFs, seconds with one job / with two"
    return [compare(one, two, min(runs, 3)).figure(what, "at least 1.8")]


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
