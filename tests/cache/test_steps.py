"""`cache=` on a step: the same rows and the same fingerprint, and no call for what is kept."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batten.cache.cache import Cache

if TYPE_CHECKING:
    from conftest import JobFolder

NOTE = """
    def note(item):
        with open(CALLS, "a") as file:
            file.write(f"{item}\\n")
"""

STEPS = {
    "map": """
        def work(item):
            note(item)
            return {"square": item * item}
        pipeline = batten.from_range(6).map(work, CACHE)
    """,
    "flat_map": """
        def work(item):
            note(item)
            for n in range(item % 3):
                yield {"n": n}
        pipeline = batten.from_range(6).flat_map(work, CACHE)
    """,
    "filter": """
        def work(item):
            note(item)
            return item % 2
        def show(item):
            return {"n": item}
        pipeline = batten.from_range(6).filter(work, CACHE).map(show)
    """,
    "a class": """
        class Work:
            def __init__(self):
                note("made")
            def __call__(self, item):
                note(item)
                return {"square": item * item}
        pipeline = batten.from_range(6).map(Work, CACHE)
    """,
    "async": """
        async def work(item):
            note(item)
            return {"square": item * item}
        pipeline = batten.from_range(6).map(work, CACHE)
    """,
    "async flat_map": """
        async def work(item):
            note(item)
            for n in range(item % 3):
                yield {"n": n}
        pipeline = batten.from_range(6).flat_map(work, CACHE)
    """,
    "a version": """
        pending = iter(())
        def work(item):
            note(item)
            return {"square": item * item, "next": next(pending, 7)}
        pipeline = batten.from_range(6).map(work, version="1", CACHE)
    """,
}


def write(job: JobFolder, program: str, output: str, cache: str) -> None:
    text = f"CALLS = {str(job.path / 'calls')!r}\n" + textwrap.dedent(NOTE)
    text += textwrap.dedent(program).replace("CACHE", cache)
    job.write(text + f"\npipeline = pipeline.write_parquet({output!r})\n")


@pytest.mark.parametrize("program", STEPS.values(), ids=STEPS)
def test_a_second_job_calls_nothing(job: JobFolder, program: str) -> None:
    write(job, program, "plain", "cache=None")
    assert job.run("--quiet", "--jobs", "1").code == 0
    calls = len(job.calls())
    for output in ("first", "second"):
        write(job, program, output, 'cache="kept"')
        done = job.run("--quiet", "--jobs", "1")
        assert done.code == 0, done.err
        assert list(job.parts(output).values()) == list(job.parts("plain").values())
    assert len(job.calls()) == 2 * calls
    total = Cache(job.path / "kept").statistics().total
    assert (total.builds, total.hits, total.failures) == (6, 6, 0)


def test_it_is_no_part_of_the_fingerprint(job: JobFolder) -> None:
    write(job, STEPS["map"], "out", "cache=None")
    assert job.run("--quiet").code == 0
    write(job, STEPS["map"], "out", 'cache="kept"')
    assert job.run("--quiet", "--json").json["status"] == "nothing-to-do"


def test_changed_code_is_another_key(job: JobFolder) -> None:
    write(job, STEPS["map"], "first", 'cache="kept"')
    assert job.run("--quiet").code == 0
    write(job, STEPS["map"].replace("item * item", "item + item"), "second", 'cache="kept"')
    assert job.run("--quiet").code == 0
    assert [row["square"] for row in job.rows("second")] == [0, 2, 4, 6, 8, 10]


def test_failures_are_not_kept(job: JobFolder) -> None:
    program = """
        from pathlib import Path
        def work(item):
            note(item)
            if not Path(CALLS).with_name("mended").exists():
                raise ValueError("not yet")
            return {"n": item}
        pipeline = batten.from_range(2).map(work, CACHE)
    """
    write(job, program, "out", 'cache="kept"')
    assert job.run("--quiet").code == 3
    (job.path / "mended").touch()
    assert job.run("--quiet", "--retry-quarantined").code == 0
    assert len(job.rows()) == 2


def test_a_cache_that_can_not_be_used_changes_no_row(job: JobFolder) -> None:
    (job.path / "kept").write_text("a file")
    write(job, STEPS["map"], "out", 'cache="kept"')
    assert job.run("--quiet").code == 0
    assert [row["square"] for row in job.rows()] == [0, 1, 4, 9, 16, 25]


def test_an_item_without_identity_ends_the_run(job: JobFolder) -> None:
    program = """
        pipeline = batten.from_items([iter(()), iter(())]).map(lambda item: {"n": 1}, CACHE)
    """
    write(job, program, "out", 'cache="kept"')
    ended = job.run("--quiet", "--jobs", "1")
    assert ended.code == 2
    assert "key of the cache" in ended.told[0]


@pytest.mark.parametrize("cache", ["1.5", "[]"])
def test_what_is_no_cache_is_refused(job: JobFolder, cache: str) -> None:
    write(job, STEPS["map"], "out", f"cache={cache}")
    assert job.run("--quiet").code == 2
    assert not Path(job.path / "out").exists()
