"""Steps with workers of their own keep all that holds for steps without them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.random_kills import Victim, run_with_random_kills
from batten.errors import UsageError

EXIT_FAILED, EXIT_QUARANTINED = 1, 3

TWO_STEPS = """
import os, random

class Embed:
    def __init__(self, worker, device="none"):
        self.own = {"index": worker.index, "device": device}
        self.sees = os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def __call__(self, row):
        return {**row, **self.own, "sees": self.sees, "embedded_in": os.getpid()}

def decode(number):
    return {"number": number, "decoded_in": os.getpid()}

pipeline = (
    batten.from_range(60)
    .map(decode, concurrency=3)
    .map(Embed, OWN_WORKERS)
    .write_parquet("out/")
    .options(batch_size=7)
)
"""


def write_two_steps(job: Any, devices: str) -> Any:
    return job.write(TWO_STEPS.replace("OWN_WORKERS", devices))


@pytest.mark.parametrize("workers", ["fork", "spawn"])
def test_each_worker_sees_its_own_device_before_its_class_is_made(workers: str, job: Any) -> None:
    write_two_steps(job, 'devices="auto"')
    done = job.run("--jobs", "1", "--workers", workers, CUDA_VISIBLE_DEVICES="4,GPU-5")
    assert done.code == 0, done.err
    rows = job.rows()
    assert [row["number"] for row in rows] == list(range(60))
    own = {(row["embedded_in"], row["index"], row["device"], row["sees"]) for row in rows}
    expected = {(0, "cuda:0", "4"), (1, "cuda:0", "GPU-5")}
    assert {each[1:] for each in own} <= expected
    assert len(own) == len({each[1:] for each in own})
    assert not {row["decoded_in"] for row in rows} & {row["embedded_in"] for row in rows}


def test_workers_of_a_step_without_devices_are_numbered(job: Any) -> None:
    done = write_two_steps(job, "concurrency=2").run()
    assert done.code == 0, done.err
    assert {row["device"] for row in job.rows()} == {"none"}
    assert {row["index"] for row in job.rows()} <= {0, 1}


ALIKE = """
import random
from pathlib import Path

class Half:
    def __call__(self, row):
        return row["number"] % 2 == 0

def read(number):
    batten.usage(calls=1)
    return {"number": number, "drawn": random.random()}

def many(row):
    for each in range(row["number"] % 3):
        yield {"each": each, "more": random.random()}

def table(given):
    return given

def flaky(row):
    mark = Path(f"failed-{row['number']}")
    if row["number"] % 10 == 3 and not mark.exists():
        mark.touch()
        batten.usage(calls=1)
        raise OSError("again")
    if row["number"] % 25 == 24:
        raise Unpicklable(lambda: 1)
    return row

class Unpicklable(ValueError):
    def __str__(self):
        return "it does not pickle"

OWN = dict(OPTIONS)
pipeline = (
    batten.from_range(60)
    .map(read, **OWN)
    .map(flaky, retries=1, retry_on=OSError, **OWN)
    .filter(Half, **OWN)
    .flat_map(many, keep_input=True, **OWN)
    .map_batches(table, items=5, **OWN)
    .write_parquet("out/")
    .options(batch_size=20, seed=7)
)
"""


def test_rows_failures_and_usage_are_those_of_steps_without_workers(
    job: Any, tmp_path: Path
) -> None:
    made = []
    for options in ("", "concurrency=2"):
        folder = tmp_path / (options or "without")
        folder.mkdir()
        own = type(job)(folder).write(ALIKE.replace("OPTIONS", options))
        done = own.run("--jobs", "2")
        assert done.code == EXIT_QUARANTINED, done.err
        shown = batten.diagnose(folder / "out").to_json()["usage"]
        made.append((own.rows(), own.quarantined(), shown))
    assert made[0][0] == made[1][0]
    assert made[0][1] == made[1][1]
    assert made[0][2] == made[1][2]
    error = "job.Unpicklable: it does not pickle"
    assert {failed[0].split(": ", 1)[1] for failed in made[0][1].values()} == {error.split(": ")[1]}


FATAL = """
import os, signal, time

class Model:
    def __call__(self, given):
        numbers = [given] if isinstance(given, int) else given.column("number").to_pylist()
        if 7 in numbers:
            HARM
        return {"number": given} if isinstance(given, int) else given

def number(item):
    return {"number": item}

start = batten.from_range(30)
if "KIND" == "map":
    made = start.map(Model, concurrency=2, OPTIONS)
else:
    made = start.map(number).map_batches(Model, items=5, concurrency=2, OPTIONS)
pipeline = made.write_parquet("out/").options(batch_size=10)
"""

NURSERY = "os.kill(os.getppid(), signal.SIGKILL); signal.pause()"
DEATH = "os.kill(os.getpid(), signal.SIGSEGV)"
HANG = "time.sleep(1000)"
HOARD = "held = bytearray(400 << 20); time.sleep(1000)"


@pytest.mark.parametrize("kind", ["map", "map_batches"])
@pytest.mark.parametrize(
    ("harm", "options", "words", "error"),
    [
        (DEATH, "", [], "the worker was killed by signal SIGSEGV"),
        (NURSERY, "", [], "the worker was killed with the process that keeps the workers"),
        (HANG, "timeout_seconds=0.5", [], "TimeoutError: the item took longer than 0.5 seconds"),
        (HOARD, "", ["--memory-max", "300MB"], "(memory_max is 300.0 MB)"),
    ],
    ids=["death", "nursery", "time", "memory"],
)
def test_an_item_that_ends_a_steps_own_worker_is_put_aside_alone(
    kind: str, harm: str, options: str, words: list[str], error: str, job: Any
) -> None:
    text = FATAL.replace("KIND", kind).replace("HARM", harm).replace("OPTIONS", options)
    done = job.write(text).run("--jobs", "2", *words)
    assert done.code == EXIT_QUARANTINED, done.err
    [(key, (told, _))] = job.quarantined().items()
    assert key == "7"
    assert error in told
    assert [row["number"] for row in job.rows()] == [n for n in range(30) if n != 7]


def test_an_item_that_ends_a_worker_in_a_later_call_of_its_unit_is_found(job: Any) -> None:
    text = FATAL.replace("KIND", "map_batches").replace("HARM", DEATH)
    limit = "tokens_max=3, tokens=lambda row: 1"
    done = job.write(text.replace("items=5", "items=10").replace("OPTIONS", limit)).run()
    assert done.code == EXIT_QUARANTINED, done.err
    assert job.quarantined() == {"7": ("the worker was killed by signal SIGSEGV", 2)}
    assert [row["number"] for row in job.rows()] == [n for n in range(30) if n != 7]


@pytest.mark.parametrize("harm", ["raise OSError('no weights')", "os._exit(3)"])
def test_a_class_that_cannot_be_made_is_the_jobs_failure(harm: str, job: Any) -> None:
    job.write(f"""
    import os

    class Model:
        def __init__(self):
            {harm}

        def __call__(self, number):
            return {{"number": number}}

    pipeline = batten.from_range(30).map(Model, concurrency=2).write_parquet("out/")
    """)
    done = job.run()
    assert done.code == EXIT_FAILED, done.err
    assert "Model() could not be constructed" in done.err or "with no item in hand" in done.err
    assert not list((job.path / "out.batten").glob("quarantine/*"))


def test_a_steps_own_worker_that_has_done_enough_is_followed_by_another(job: Any) -> None:
    job.write("""
    import os

    def work(number):
        return {"number": number, "pid": os.getpid()}

    pipeline = (
        batten.from_range(12).map(work, concurrency=1).write_parquet("out/")
        .options(worker_items_max=4)
    )
    """)
    done = job.run("--jobs", "1")
    assert done.code == 0, done.err
    assert [row["number"] for row in job.rows()] == list(range(12))
    assert len({row["pid"] for row in job.rows()}) == 3


SLOW = """
import os, time

class Embed:
    def __call__(self, row):
        calls = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(calls, b"%d\\n" % row["number"])
        os.close(calls)
        time.sleep(0.02)
        return row

def decode(number):
    return {"number": number}

pipeline = (
    batten.from_range(60).map(decode, concurrency=2).map(Embed, concurrency=1)
    .write_parquet("out/").options(batch_size=9)
)
"""


def test_killed_anywhere_nothing_is_lost_and_nobody_is_left(job: Any) -> None:
    job.write(SLOW)
    killed = run_with_random_kills(
        [sys.executable, "-m", "batten", "run", "job.py", "--quiet"],
        kills=6,
        delay_seconds_max=1.5,
        seed=11,
        targets=tuple(Victim),
        working_folder=job.path,
    )
    assert not killed.survivors
    assert [row["number"] for row in job.rows()] == list(range(60))


def test_a_signal_lets_the_calls_in_hand_end(job: Any) -> None:
    text = SLOW.replace("time.sleep(0.02)", "row['number'] == 9 and stop()")
    job.write(
        text
        + f"""
def stop():
    driver = int(open("driver").read())
    os.kill(driver, {int(signal.SIGTERM)})

open("driver", "w").write(str(os.getpid()))
"""
    )
    done = job.run("--jobs", "1", "--workers", "fork")
    assert done.code == 75, done.err
    again = job.run("--jobs", "1", "--workers", "fork")
    assert again.code == 0, again.err
    assert sorted(map(int, job.calls())) == list(range(60))


def test_what_cannot_be_kept_is_refused(job: Any) -> None:
    async def wait(number: int) -> None: ...

    own = batten.from_range(1).map(str, concurrency=2).write_parquet(job.path / "out")
    with pytest.raises(UsageError, match="threads"):
        own.run(executor="threads")
    with pytest.raises(UsageError, match="devices="):
        batten.from_range(1).map(wait, devices=1)
    both = batten.from_range(1).map(wait).map(str, concurrency=2)
    with pytest.raises(UsageError, match="beside an async"):
        both.write_parquet(job.path / "out").run()


def test_in_one_process_the_steps_run_where_the_items_are(job: Any) -> None:
    made = batten.from_range(5).map(pid_of, concurrency=2).write_parquet(job.path / "out")
    made.run(executor="serial", progress=False)
    assert {row["pid"] for row in job.rows()} == {os.getpid()}


def pid_of(number: int) -> dict[str, int]:
    return {"pid": os.getpid()}


def test_a_preview_has_the_steps_in_its_own_process(job: Any) -> None:
    class Model:
        def __init__(self, device: str) -> None:
            self.device = device

        def __call__(self, number: int) -> dict[str, Any]:
            return {"device": self.device}

    preview = batten.from_range(2).map(Model, devices=["cuda:1"]).preview()
    assert preview.rows == [{"key": 0, "device": "cuda:1"}, {"key": 1, "device": "cuda:1"}]
