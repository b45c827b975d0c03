"""A run of which most items fail stops: it is the job that fails, and nothing is quarantined for
it. The next run tries them again, once, and what was finished is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Ended, JobFolder

JOB = """
import os
from pathlib import Path

class Unauthorized(Exception):
    status_code = 401

HERE = Path(__file__).parent

def fails(number):
    return not (HERE / "mended").exists() and ({fails})

{kind} work(number):
    with open(HERE / "calls", "a") as file:
        file.write(f"{{number}}\\n")
    if fails(number):
        raise Unauthorized(f"the key of item {{number}} is wrong")
    return {{"number": number}}

pipeline = (
    batten.from_range({items}).map(work{options}).options(batch_size={batch}, {settings})
    .write_parquet(HERE / "out")
)
"""
KINDS = {"processes": "def", "async": "async def"}


def write(
    job: JobFolder,
    fails: str = "True",
    *,
    items: int = 300,
    batch: int = 10,
    kind: str = "def",
    options: str = "",
    settings: str = "schema={'number': int}",
) -> None:
    text = JOB.format(
        fails=fails, items=items, batch=batch, kind=kind, options=options, settings=settings
    )
    job.write(text)


def check_mended(job: JobFolder, *, items: int = 300, words: tuple[str, ...] = ()) -> None:
    """The plain command does all that is left, and nothing of what was finished."""
    finished = {str(row["number"]) for row in job.rows()} if (job.path / "out").exists() else set()
    before = len(job.calls())
    (job.path / "mended").touch()
    ended = job.run("--json", *words)
    assert ended.code == 0, ended.err
    assert ended.json["items"]["quarantined"] == 0
    assert [row["number"] for row in job.rows()] == list(range(items))
    assert not finished.intersection(job.calls()[before:])
    assert job.batten("verify", "out").code == 0


def check_stopped(ended: Ended, which: str) -> None:
    assert ended.code == 1, ended.err
    what, safe, next_step = ended.told_last
    assert "Traceback" in ended.err
    assert ", in work\n" in ended.err
    assert which in what
    assert "Unauthorized: the key of item" in what
    assert "kept" in safe
    assert "batten run job.py" in next_step


@pytest.mark.parametrize(
    ("jobs", "batch", "settings"),
    [
        ("1", 1, "schema={'number': int}"),
        ("4", 10, "schema={'number': int}"),
        ("2", 10, ""),
        ("4", 1000, ""),
    ],
)
def test_a_job_that_fails_from_the_start(
    job: JobFolder, jobs: str, batch: int, settings: str
) -> None:
    write(job, batch=batch, settings=settings)
    check_stopped(job.run("--jobs", jobs), "first 20 items that ended all failed")
    assert not list((job.path / "out.batten").glob("quarantine/*"))
    # What failed is not counted as finished, and it is said why the run stopped.
    found = job.batten("diagnose", "out", "--json").json
    assert (found["items"]["staged"], found["items"]["pending"]) == (0, 300)
    assert any("first 20 items that ended all failed" in hint for hint in found["hints"])
    assert "first 20 items that ended all failed" in job.batten("show", "out").out
    check_mended(job)


@pytest.mark.parametrize(
    ("kind", "batch"), [("processes", 1), ("processes", 10), ("async", 10), ("processes", 1000)]
)
def test_a_job_that_fails_later(job: JobFolder, kind: str, batch: int) -> None:
    options = ", concurrency=4" if kind == "async" else ""
    write(job, "number >= 150", kind=KINDS[kind], batch=batch, options=options)
    check_stopped(job.run("--jobs", "1"), "last 100 items that ended 51 failed")
    assert not list((job.path / "out.batten").glob("quarantine/*"))
    check_mended(job)


def test_no_part_is_published_before_one_that_is_in_doubt(job: JobFolder) -> None:
    """Parts come in the order of the plan, also where those behind the doubtful one are well."""
    write(job, "number > 150 and number % 3", batch=1)
    check_stopped(job.run("--jobs", "1"), "last 100 items that ended 51 failed")
    parts = sorted(path.name for path in (job.path / "out").iterdir())
    assert parts == [f"part-{number:06}.parquet" for number in range(151)]
    check_mended(job)


def test_what_failed_long_before_stays_quarantined(job: JobFolder) -> None:
    write(job, "number == 3 or number >= 150", batch=1)
    check_stopped(job.run("--jobs", "1"), "last 100")
    (job.path / "mended").touch()
    ended = job.run("--json")
    assert (ended.code, ended.json["items"]["quarantined"]) == (3, 1)
    assert list(job.quarantined()) == ["3"]


@pytest.mark.parametrize("concurrency", [1, 5, 20, 100])
@pytest.mark.parametrize("awaits", ["", "await asyncio.sleep(0)", "await asyncio.sleep(0.01)"])
def test_no_call_is_begun_after_those_that_decide(
    job: JobFolder, concurrency: int, awaits: str
) -> None:
    """Each of the first 20 made room for another; those in flight may end."""
    write(job, items=1000, kind="async def", options=f", concurrency={concurrency}, retries=3")
    text = (job.path / "job.py").read_text()
    text = text.replace("    if fails(", f"    {awaits}\n    if fails(").replace(
        "import os", "import asyncio, os"
    )
    (job.path / "job.py").write_text(text)
    assert job.run().code == 1
    assert 20 <= len(job.calls()) == len(set(job.calls())) <= 20 + concurrency


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("settings", ["schema={'number': int}", "schema=None"])
def test_workers_begin_few_items_after_those_that_decide(
    job: JobFolder, jobs: int, settings: str
) -> None:
    write(job, items=1000, batch=1000, settings=settings)
    assert job.run("--jobs", str(jobs)).code == 1
    assert 20 <= len(job.calls()) <= 20 + 2 * jobs


def test_a_server_that_goes_away_costs_few_calls(job: JobFolder) -> None:
    write(job, "number >= 150", items=3000, batch=1000)
    assert job.run("--jobs", "4").code == 1
    assert len(job.calls()) <= 150 + 5 * 51


@pytest.mark.parametrize("executor", ["threads", "serial"])
def test_other_ways_to_run(job: JobFolder, executor: str) -> None:
    write(job)
    with (job.path / "job.py").open("a") as file:
        file.write(f"\npipeline.run(executor={executor!r}, jobs=2)\n")
    ended = job.batten("run", "job.py")
    assert "first 20 items" in ended.err
    write(job)
    check_mended(job)


def test_whole_units_that_fail(job: JobFolder) -> None:
    job.write("""
        from pathlib import Path

        def work(table):
            if not Path("mended").exists():
                raise ConnectionError("nobody answers")
            return table.select(["key"]).append_column("number", table.column("key"))

        def row(number):
            return {"number": number}

        pipeline = (batten.from_range(300).map(row).map_batches(work, items=50)
                    .options(batch_size=100).write_parquet("out/"))
    """)
    ended = job.run()
    assert (ended.code, "first 20 items" in ended.told_last[0]) == (1, True), ended.err
    check_mended(job)


def test_a_worker_that_dies_each_time(job: JobFolder) -> None:
    job.write("""
        import os
        from pathlib import Path

        def work(number):
            if not Path("mended").exists():
                os._exit(9)
            return {"number": number}

        pipeline = batten.from_range(60).map(work).write_parquet("out/")
    """)
    ended = job.run("--jobs", "2")
    assert (ended.code, "exited with status 9" in ended.told[0]) == (1, True), ended.err
    check_mended(job, items=60)


def test_a_few_items_run_to_the_end(job: JobFolder) -> None:
    write(job, items=19)
    assert job.run().code == 3
    assert len(job.quarantined()) == 19


def test_half_may_fail(job: JobFolder) -> None:
    write(job, "number % 2")
    assert job.run("--jobs", "1").code == 3
    assert len(job.quarantined()) == 150


def test_it_can_be_turned_off(job: JobFolder) -> None:
    write(job, settings="stop_when=None")
    assert job.run().code == 3
    assert len(job.quarantined()) == 300


def test_items_that_are_tried_again_may_fail_again(job: JobFolder) -> None:
    """They failed before, so that tells nothing of the job; and the dataset stays complete."""
    write(job, "number < 40", settings="stop_when=None")
    assert job.run().code == 3
    write(job, "number < 40", settings="")
    assert job.run("--retry-quarantined").code == 3
    assert len(job.quarantined()) == 40
    check_mended(job, words=("--retry-quarantined",))


def test_the_doubt_outlives_runs_that_are_ended_early(job: JobFolder) -> None:
    write(job, "number >= 150", batch=50)
    assert job.run("--jobs", "1").code == 1
    (job.path / "mended").touch()
    assert job.run("--limit", "10").code == 0
    check_mended(job)


def test_other_limits_still_hold(job: JobFolder) -> None:
    write(job, settings="quarantine_max=5")
    assert "quarantine_max is 5" in job.run("--jobs", "1").err
    write(job, settings="on_error='raise'")
    assert job.run("--jobs", "1").err.count("The item '0' failed") == 1


def test_a_mended_function_goes_on(job: JobFolder) -> None:
    """A forgotten `return`: nothing was finished, so nothing is mixed."""
    text = (
        "def work(number):\n    {}\npipeline = batten.from_range(50).map(work).write_parquet('out')"
    )
    job.write(text.format('{"number": number}'))
    assert job.run().code == 1
    job.write(text.format('return {"number": number}'))
    ended = job.run("--accept-change")
    assert ended.code == 0, ended.err
    assert [row["number"] for row in job.rows()] == list(range(50))
    assert Path(job.path / "out.batten/COMPLETE").exists()
