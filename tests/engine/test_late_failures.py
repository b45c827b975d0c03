"""Items that turn out to have failed after they were told of as finished: their rows do not fit
those that pinned the schema, or a destination rejects them. They count as any other failure, and
where most are such the run stops."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Ended, JobFolder

MISFITS = """
from pathlib import Path

HERE = Path(__file__).parent

{kind} work(number):
    with open(HERE / "calls", "a") as file:
        file.write(f"{{number}}\\n")
    if {odd} and not (HERE / "mended").exists():
        return {row}
    return {{"number": number}}

pipeline = (batten.from_range({items}).map(work{options}).options(batch_size={batch}{settings})
            .write_parquet("out/"))
"""


def write_misfits(
    job: JobFolder,
    odd: str = "number",
    *,
    kind: str = "def",
    items: int = 300,
    batch: int = 300,
    row: str = '{"number": "text"}',
    options: str = "",
    settings: str = "",
) -> None:
    job.write(
        MISFITS.format(
            kind=kind,
            odd=odd,
            items=items,
            batch=batch,
            row=row,
            options=options,
            settings=settings,
        )
    )


def check_stopped(ended: Ended) -> None:
    assert ended.code == 1, ended.err
    what, safe, advice = ended.told
    assert "of the last 100 items that ended" in what.lower()
    assert "the row does not fit" in what
    assert "the next run tries those items again" in safe
    assert "--fresh" in advice


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("row", "batch"),
    [('{"number": "text"}', 300), ('{"number": [1]}', 300), ('{"number": "x"}', 10)],
)
def test_rows_that_do_not_fit(job: JobFolder, kind: str, row: str, batch: int) -> None:
    write_misfits(job, kind=kind, row=row, batch=batch)
    check_stopped(job.run("--jobs", "2"))
    assert not list((job.path / "out.batten").glob("quarantine/*"))
    # Only what was finished is counted as such, and so it is kept.
    found = job.batten("diagnose", "out", "--json").json["items"]
    before = len(job.calls())
    (job.path / "mended").touch()
    ended = job.run("--json")
    assert ended.code == 0, ended.err
    assert ended.json["items"]["quarantined"] == 0
    assert [row["number"] for row in job.rows()] == list(range(300))
    assert len(job.calls()) - before == 300 - found["committed"] - found["staged"]


def test_the_first_row_is_the_odd_one(job: JobFolder) -> None:
    """It pinned the schema, so nothing but all anew helps, and that is said."""
    write_misfits(job, "number == 0")
    check_stopped(job.run("--jobs", "2"))
    (job.path / "mended").touch()
    ended = job.run("--fresh")
    assert ended.code == 0, ended.err
    assert len(job.rows()) == 300


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_half_may_not_fit(job: JobFolder, kind: str) -> None:
    write_misfits(job, "number % 2", kind=kind)
    assert job.run("--jobs", "2").code == 3
    assert len(job.quarantined()) == 150


def test_rows_that_do_not_fit_among_those_that_raise(job: JobFolder) -> None:
    """Neither are most, together they are."""
    write_misfits(job, "number % 5 > 2", row='1 / (number % 5 - 3) and {"number": "text"}')
    with (job.path / "job.py").open("a") as file:
        file.write("\n")
    assert job.run("--jobs", "2").code == 3
    write_misfits(job, "number % 5 > 1", row='1 / (number % 5 - 3) and {"number": "text"}')
    assert job.run("--jobs", "2", "--fresh").code == 1


def test_staged_rows_that_do_not_fit_are_tried_again(job: JobFolder) -> None:
    """A chunk that was staged before the schema was pinned holds them as finished."""
    write_misfits(job, "number > 150", kind="async def", batch=1000)
    check_stopped(job.run())
    staged = list((job.path / "out.batten/staged").iterdir())
    assert staged
    assert all("sealed" not in path.name for path in staged)
    (job.path / "mended").touch()
    assert job.run().code == 0
    assert len(job.rows()) == 300


def test_it_can_be_turned_off(job: JobFolder) -> None:
    write_misfits(job, settings=", stop_when=None")
    assert job.run("--jobs", "2").code == 3
    assert len(job.quarantined()) == 299


REJECTED = """
import sqlite3
from pathlib import Path

HERE = Path(__file__).parent

def work(number):
    return {{"number": number if {bad} and not (HERE / "mended").exists() else 0}}

pipeline = (batten.from_range(300).map(work).options(batch_size={batch})
            .write_sqlite(HERE / "table.db", table="rows"))
"""


def write_rejected(job: JobFolder, bad: str, batch: int) -> None:
    job.write(REJECTED.format(bad=bad, batch=batch))
    with sqlite3.connect(job.path / "table.db") as connection:
        connection.execute("create table rows (key integer, number integer check (number = 0))")
    connection.close()


def count_stored(job: JobFolder) -> int:
    connection = sqlite3.connect(job.path / "table.db")
    (count,) = connection.execute("select count(*) from rows").fetchone()
    connection.close()
    return int(count)


@pytest.mark.parametrize(("bad", "batch"), [("True", 10), ("number > 9", 10), ("number > 9", 300)])
def test_items_that_a_destination_rejects(job: JobFolder, bad: str, batch: int) -> None:
    write_rejected(job, bad, batch)
    ended = job.run("--jobs", "2")
    assert ended.code == 1, ended.err
    what, safe, advice = ended.told
    assert "so the run stopped" in what
    assert "CHECK" in what
    assert "what a destination did not take is quarantined" in safe
    assert "--retry-quarantined" in advice
    assert job.batten("verify", "table.db").code in (0, 3), job.batten("verify", "table.db").out
    (job.path / "mended").touch()
    ended = job.run("--retry-quarantined", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["items"]["quarantined"] == 0
    assert count_stored(job) == 300


def test_a_few_rejected_items_stop_nothing(job: JobFolder) -> None:
    write_rejected(job, "number % 3 == 1", 30)
    assert job.run("--jobs", "2").code == 3
    assert count_stored(job) == 200
