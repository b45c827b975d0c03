"""Jobs whose items harm the processes around them, and how workers begin."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from batten.executors.marks import MarkTable
from batten.work.bench import Bench
from batten.work.tasks import Prepare, Prepared, WorkerJob

EXIT_QUARANTINED = 3
FATAL, ITEMS = 7, 12

KILLS_THE_NURSERY = f"""
import os, signal

def work(number):
    if number == {FATAL}:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return {{"number": number}}

pipeline = batten.from_range({ITEMS}).map(work).write_parquet("out/").options(batch_size=5)
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_item_that_kills_the_process_that_keeps_the_workers_is_put_aside(
    jobs: int, job: Any
) -> None:
    done = job.write(KILLS_THE_NURSERY).run("--jobs", str(jobs))
    assert done.code == EXIT_QUARANTINED, done.err
    error = "the worker was killed with the process that keeps the workers"
    assert job.quarantined() == {str(FATAL): (error, 2)}
    assert [row["number"] for row in job.rows()] == [n for n in range(ITEMS) if n != FATAL]


DIES_OF_COMPANY = """
DONE = []

def work(number):
    if number == 7 and DONE:
        import os
        os._exit(9)
    DONE.append(number)
    return {"number": number}

pipeline = batten.from_range(12).map(work).write_parquet("out/")
"""


def test_an_item_that_dies_of_what_others_left_is_tried_in_a_new_process(job: Any) -> None:
    done = job.write(DIES_OF_COMPANY).run("--jobs", "1")
    assert done.code == 0, done.err
    assert len(job.rows()) == 12


THREADED = """
import queue, threading, time

ASKED, ANSWERED = queue.Queue(), queue.Queue()

def serve():
    while True:
        ANSWERED.put(ASKED.get() * 2)

threading.Thread(target=serve, daemon=True, name="client").start()

def work(number):
    ASKED.put(number)
    return {"twice": ANSWERED.get(timeout=20)}

pipeline = batten.from_range(12).map(work, version="1").write_parquet("out/")
"""


def test_a_client_with_a_thread_works_in_workers(job: Any) -> None:
    done = job.write(THREADED).run("--jobs", "2")
    assert done.code == 0, done.err
    assert "threads do not survive a fork (client)" in done.err
    assert [row["twice"] for row in job.rows()] == [2 * n for n in range(12)]


def test_polars_works_in_workers(job: Any) -> None:
    pytest.importorskip("polars")
    done = job.write("""
        import polars as pl
        ITEMS = pl.DataFrame({"id": [3, 1, 2]}).sort("id").to_dicts()

        def work(item):
            frame = pl.DataFrame({"w": ["a", "b", "a"], "n": [item["id"], 2, 3]})
            return {"top": frame.group_by("w").agg(pl.col("n").sum()).sort("w")["n"][0]}

        pipeline = batten.from_items(ITEMS, key="id").map(work).write_parquet("out/")
    """).run("--jobs", "2")
    assert done.code == 0, done.err
    assert [row["top"] for row in job.rows()] == [4, 5, 6]


def test_numpy_and_arrow_alone_leave_workers_forked(job: Any) -> None:
    done = job.write("""
        import os
        import numpy as np, pyarrow as pa, pyarrow.compute as pc
        PID = os.getpid()
        np.ones((300, 300)) @ np.ones((300, 300))
        pc.sum(pa.chunked_array([list(range(1000))] * 50))

        def work(number):
            return {"is_forked": os.getpid() != PID}

        pipeline = batten.from_range(3).map(work, version="1").write_parquet("out/")
    """).run("--jobs", "2")
    assert done.code == 0, done.err
    assert "fresh interpreter" not in done.err
    assert all(row["is_forked"] for row in job.rows())


LOADED_TWICE = """
import datetime, os, sys, warnings
import beside

os.environ["SET_BY_JOB"] = "yes"
os.chdir("..")
warnings.simplefilter("error", ResourceWarning)
factor = int(sys.argv[sys.argv.index("--jobs") + 1])

class Model:
    def __init__(self):
        self.word = beside.word()

    def __call__(self, item):
        return {
            "item": item["name"],
            "word": self.word,
            "factor": factor,
            "set": os.environ["SET_BY_JOB"],
            "here": os.path.basename(os.getcwd()),
        }

def pipeline(day: datetime.date, suffix: str = "x"):
    add = lambda row: {**row, "day": day.isoformat() + suffix}
    items = [{"name": name} for name in {"a", "b", "c", "d", "e", "f", "g", "h"}]
    return batten.from_items(items).map(Model).map(add).write_parquet("out/")
"""


def test_a_job_file_is_loaded_by_workers_as_by_the_driver(job: Any) -> None:
    folder = job.path / "deeper"
    folder.mkdir()
    (folder / "beside.py").write_text("def word():\n    return 'beside'\n")
    (folder / "job.py").write_text("import batten\n" + LOADED_TWICE)
    words = ["--jobs", "2", "--param", "day=2026-04-24", "--workers", "spawn"]
    done = job.run(*words, cwd=folder)
    assert done.code == 0, done.err
    rows = job.rows("deeper/out")
    assert sorted(row["item"] for row in rows) == list("abcdefgh")
    (rest,) = {
        tuple(value for name, value in r.items() if name not in ("key", "item")) for r in rows
    }
    assert rest == ("beside", 2, "yes", job.path.name, "2026-04-24x")


def test_both_ways_give_the_same_bytes(job: Any) -> None:
    job.write("""
        def work(number):
            return {"square": number ** 2}

        pipeline = batten.from_range(300).map(work).options(batch_size=100).write_parquet("out/")
    """)
    made = []
    for way in ("fork", "spawn"):
        assert job.run("--workers", way, "--fresh").code == 0
        made.append(job.parts())
    assert made[0] == made[1]


def test_another_job_each_time_is_refused(job: Any) -> None:
    done = job.write("""
        import uuid
        RUN = str(uuid.uuid4())

        def work(number):
            return {"run": RUN}

        pipeline = batten.from_range(3).map(work).write_parquet("out/")
    """).run("--workers", "spawn")
    assert done.code == 5
    assert "another one each time that it is loaded" in done.told[0]
    assert "RUN" in done.told[0]


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_items_that_end_their_workers_cost_themselves_alone(job: Any, way: str) -> None:
    done = job.write("""
        import os, signal, time

        def work(number):
            if number == 3:
                os.kill(os.getpid(), signal.SIGSEGV)
            if number == 5:
                os.kill(os.getppid(), signal.SIGKILL)
                signal.pause()
            if number == 7:
                time.sleep(1000)
            if number == 9:
                raise Mine("no")
            return {"number": number}

        class Mine(Exception):
            pass

        pipeline = batten.from_range(12).map(work, timeout_seconds=1.5).write_parquet("out/")
    """).run("--jobs", "2", "--workers", way)
    assert done.code == EXIT_QUARANTINED, done.err
    assert {key: attempts for key, (_, attempts) in job.quarantined().items()} == {
        "3": 2,
        "5": 2,
        "7": 1,
        "9": 1,
    }
    assert len(job.rows()) == 8


SCRIPT = """
import sys, threading
import batten

class Scaled:
    def __init__(self):
        self.factor = FACTOR

    def __call__(self, number):
        if number == 5:
            raise Odd(number)
        return {"scaled": number * self.factor, "main": Scaled.__module__}

class Odd(Exception):
    pass

FACTOR = 3
GUARD:
    pipeline = batten.from_range(6).map(Scaled).write_parquet("out/")
    report = pipeline.run(jobs=2, workers=WORKERS, progress=False)
    print(report.quarantined)
"""


def write_script(job: Any, *, guard: str, workers: str | None, threads: str = "") -> Any:
    text = SCRIPT.replace("GUARD", guard).replace("WORKERS", repr(workers))
    return job.write(threads + text, "script.py")


def run_python(job: Any, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=job.path,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def without_cloudpickle(job: Any) -> None:
    (job.path / "cloudpickle.py").write_text("raise ImportError\n")


IS_MAIN = 'if __name__ == "__main__"'
CLIENT = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def test_a_script_is_loaded_by_workers_and_not_run(job: Any) -> None:
    write_script(job, guard=IS_MAIN, workers="spawn")
    done = run_python(job, "script.py")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [row["scaled"] for row in job.rows()] == [0, 3, 6, 9, 12]
    assert {row["main"] for row in job.rows()} == {"__mp_main__"}


@pytest.mark.usefixtures("without_cloudpickle")
def test_a_script_that_runs_when_it_is_loaded_is_told(job: Any) -> None:
    write_script(job, guard="if True", workers="spawn")
    done = run_python(job, "script.py")
    assert done.returncode == 1
    assert "script.py runs the pipeline whenever it is loaded" in done.stderr
    assert IS_MAIN in done.stderr


def test_a_script_that_runs_beside_its_guard_is_told(job: Any) -> None:
    write_script(job, guard="if __name__", workers="spawn")
    done = run_python(job, "script.py")
    assert done.returncode == 1
    assert "run whenever its module is loaded, and workers load it again" in done.stderr


GUARDED = """
import batten


def double(n):
    return {"n": 2 * n}


if __name__ == "__main__":

    def inner(row):
        return {"n": row["n"] + 1}

    SECOND
    pipeline = batten.from_range(5).map(double).map(step).write_parquet("out/")
    print(pipeline.run(jobs=1, workers="spawn").rows)
"""
UNDER_THE_GUARD = ["step = inner", "step = lambda row: inner(row)"]


@pytest.mark.parametrize("second", UNDER_THE_GUARD, ids=["function", "lambda"])
def test_functions_under_the_guard_go_with_their_code(job: Any, second: str) -> None:
    job.write(GUARDED.replace("SECOND", second), "script.py")
    done = run_python(job, "script.py")
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    assert [row["n"] for row in job.rows()] == [1, 3, 5, 7, 9]


@pytest.mark.usefixtures("without_cloudpickle")
@pytest.mark.parametrize(
    ("second", "name"), [(UNDER_THE_GUARD[0], "inner"), (UNDER_THE_GUARD[1], "pipeline")]
)
def test_names_under_the_guard_are_told(job: Any, second: str, name: str) -> None:
    job.write(GUARDED.replace("SECOND", second), "script.py")
    done = run_python(job, "script.py")
    assert done.returncode == 1
    assert f"script.py defines {name!r} only when it is run" in done.stderr
    assert "pip install cloudpickle" in done.stderr


def test_what_a_worker_does_not_find_is_told_in_three_lines(job: Any) -> None:
    """It is at the top level by its name, but not where the file is loaded."""
    text = GUARDED.replace("SECOND", "step = inner").replace(
        "def double", "inner = None\ndel inner\n\n\ndef double"
    )
    job.write(text, "script.py")
    done = run_python(job, "script.py")
    assert done.returncode == 1
    assert "A worker does not find what the driver has" in done.stderr
    assert "Everything that was finished is kept." in done.stderr


@pytest.mark.usefixtures("without_cloudpickle")
def test_where_nothing_else_is_possible_workers_are_forked_with_a_warning(job: Any) -> None:
    write_script(job, guard="if True", workers=None, threads=CLIENT)
    done = run_python(job, "script.py")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "RuntimeWarning: This process has threads that do not survive a fork" in done.stderr
    assert len(job.rows()) == 5


def test_a_module_of_a_package_run_as_the_main_one(job: Any) -> None:
    package = job.path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "factor.py").write_text("FACTOR = 3\n")
    text = SCRIPT.replace("FACTOR = 3", "from .factor import FACTOR")
    text = text.replace("GUARD", IS_MAIN).replace("WORKERS", "'spawn'")
    (package / "jobs.py").write_text(text)
    done = run_python(job, "-m", "package.jobs")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.usefixtures("without_cloudpickle")
def test_a_script_from_standard_input(job: Any) -> None:
    text = SCRIPT.replace("GUARD", IS_MAIN)
    done = run_python(job, "-", text=text.replace("WORKERS", "'spawn'"))
    assert done.returncode == 1
    assert "its functions are in no file" in done.stderr
    done = run_python(job, "-", text=CLIENT + text.replace("WORKERS", "None"))
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "its functions are in no file" in done.stderr


@pytest.mark.usefixtures("without_cloudpickle")
def test_a_lambda_is_found_by_the_name_of_its_pipeline(job: Any) -> None:
    job.write(
        """
        pipeline = batten.from_range(4).map(lambda number: {"n": number}).write_parquet("out/")
        if __name__ == "__main__":
            pipeline.run(workers="spawn")
        """,
        "script.py",
    )
    done = run_python(job, "script.py")
    assert done.returncode == 0, done.stderr
    assert len(job.rows()) == 4


@pytest.mark.parametrize("words", [["script.py"], ["-"]])
def test_functions_without_a_file_go_with_their_code(job: Any, words: list[str]) -> None:
    """As those of a notebook's cells do."""
    pytest.importorskip("cloudpickle")
    write_script(job, guard="if True", workers=None, threads=CLIENT)
    text = (job.path / "script.py").read_text()
    done = run_python(job, *words, text=text if words == ["-"] else None)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "RuntimeWarning" not in done.stderr
    assert {row["main"] for row in job.rows()} == {"__main__"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('.options(workers="thread")', "workers is 'thread'"),
        ('.options(workers="spawn")', ""),
    ],
)
def test_the_option_of_the_pipeline(job: Any, written: str, told: str) -> None:
    done = job.write(f"""
        import sys

        def work(number):
            return {{"has_argv": "-c" not in sys.argv}}

        pipeline = batten.from_range(3).map(work){written}.write_parquet("out/")
    """).run()
    assert done.code == (2 if told else 0), done.err
    assert told in done.err


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_are_replaced_after_so_many_items(job: Any, way: str) -> None:
    done = job.write("""
        import os

        class Model:
            def __init__(self):
                self.calls = 0

            def __call__(self, number):
                self.calls += 1
                return {"pid": os.getpid(), "calls": self.calls}

        pipeline = (
            batten.from_range(20).map(Model).options(worker_items_max=3).write_parquet("out/")
        )
    """).run("--jobs", "2", "--workers", way)
    assert done.code == 0, done.err
    rows = job.rows()
    assert len({row["pid"] for row in rows}) >= 7
    assert max(row["calls"] for row in rows) == 3


def test_a_unit_is_not_cut_for_a_new_worker(job: Any) -> None:
    done = job.write("""
        import os
        import pyarrow as pa

        def together(table):
            return table.append_column("pid", pa.array([os.getpid()] * len(table)))

        pipeline = (
            batten.from_range(20)
            .map(lambda n: {"n": n})
            .map_batches(together, items=5)
            .options(worker_items_max=3)
            .write_parquet("out/")
        )
    """).run("--jobs", "2")
    assert done.code == 0, done.err
    pids = [row["pid"] for row in job.rows()]
    assert [len(set(pids[n : n + 5])) for n in range(0, 20, 5)] == [1] * 4
    assert len(set(pids)) == 4


WHOLE = """
import random
import polars as pl
KINDS = pl.DataFrame({"kind": ["a", "b"], "word": ["an", "be"]}).sort("kind").to_dicts()

def join(rows):
    frame = pl.from_arrow(rows).join(pl.DataFrame(KINDS), on="kind")
    frame = frame.group_by("word").agg(pl.col("n").sum())
    return frame.sort("word").with_columns(drawn=pl.lit(random.random()))

pipeline = (
    batten.from_tables(rows="rows.csv").apply(join).options(seed=3).write_parquet("out.parquet")
)
"""


@pytest.mark.parametrize("words", [[], ["--workers", "spawn"]])
def test_a_function_of_whole_tables_works_with_polars(job: Any, words: list[str]) -> None:
    pytest.importorskip("polars")
    (job.path / "rows.csv").write_text("kind,n\na,1\nb,2\na,3\n")
    done = job.write(WHOLE).run(*words)
    assert done.code == 0, done.err
    made = pq.read_table(job.path / "out.parquet").to_pylist()
    assert [(row["word"], row["n"]) for row in made] == [("an", 4), ("be", 2)]
    assert len({row["drawn"] for row in made}) == 1


def test_a_script_with_a_cache_goes_to_a_fresh_interpreter(job: Any) -> None:
    job.write(
        """
        def work(number):
            return {"n": number}

        if __name__ == "__main__":
            kept = batten.Cache("kept", max_bytes=10**6)
            made = batten.from_range(4).map(work, cache=kept).write_parquet("out/")
            made.run(workers="spawn")
            assert kept.statistics().entries == 4
        """,
        "script.py",
    )
    done = run_python(job, "script.py")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python does not warn")
def test_python_warns_of_a_fork_where_it_loses_threads_and_only_there(job: Any) -> None:
    work = """
        def work(number):
            return {"n": number}
        pipeline = batten.from_range(3).map(work).write_parquet("out/")
    """
    shown = {"PYTHONWARNINGS": "always::DeprecationWarning"}
    for way in ("fork", "spawn"):
        done = job.write(work).run("--fresh", "--workers", way, **shown)
        assert "fork()" not in done.err
    (job.path / "job.py").write_text(CLIENT + (job.path / "job.py").read_text())
    assert "fork()" in job.run("--fresh", "--workers", "fork", **shown).err
    assert "fork()" not in job.run("--fresh", **shown).err


def test_neither_numpy_nor_pandas_need_be_there(job: Any) -> None:
    for name in ("numpy", "pandas"):
        (job.path / f"{name}.py").write_text("raise ImportError\n")
    done = job.write("""
        def work(number):
            return {"n": number}
        pipeline = batten.from_range(30).map(work).options(batch_size=10).write_parquet("out/")
    """).run("--jobs", "2")
    assert done.code == 0, done.err
    assert len(job.rows()) == 30


def test_a_worker_that_drains_gives_back_what_it_has_not_begun() -> None:
    """Before it reads anything: so no job is needed."""
    marks = MarkTable(1)
    bench, mark = Bench(cast(WorkerJob, None)), marks.mark(0)
    marks.drain()
    task = Prepare(batch=4, start=3, stop=9, schema=None, may_pin=False)
    assert bench.work(task, mark) == Prepared(batch=4, start=3, stop=3)
    del mark
    marks.close()
