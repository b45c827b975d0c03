"""A function tells what its calls used, however it is run, and the accounts have it by item."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import batten
from batten import Usage
from batten.crashlab.power import find_states, record_cuts
from batten.drive.handing_out.flight import forget
from batten.drive.run import run_on
from batten.executors.marks import MarkTable
from batten.inspect.show import show
from batten.ledger.facts.observe import observe_output
from batten.ledger.history.usage import find_usage, list_marks, tally_usage
from batten.model.disk.names import Layout
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.objects import ObjectServer, ObjectStorage

if TYPE_CHECKING:
    from conftest import JobFolder

Pipeline = batten.Pipeline


pytestmark = pytest.mark.usefixtures("in_folder")


@pytest.fixture(params=["processes", "threads", "serial"])
def run(request: pytest.FixtureRequest) -> Callable[..., Usage]:
    def run_it(pipeline: Pipeline, **options: Any) -> Usage:
        jobs = 1 if request.param == "serial" else 3
        has_failed = options.pop("warns", False)
        warned = pytest.warns(batten.QuarantinedWarning) if has_failed else nullcontext()
        with warned:
            report = pipeline.run(progress=False, executor=request.param, jobs=jobs, **options)
        return found(report)

    return run_it


def found(report: batten.Report) -> Usage:
    """What the report tells is what anybody sees."""
    assert report.usage is not None
    assert batten.diagnose("out").contents.usage == report.usage
    assert json.loads(json.dumps(show("out").to_json()))["usage"] == report.usage.to_json()
    return report.usage


def ask(number: int) -> dict[str, int]:
    batten.usage(tokens=number, cost=Decimal("0.1"))
    batten.usage(tokens=1)
    return {"number": number}


def ask_badly(number: int) -> dict[str, int]:
    batten.usage(tokens=10)
    if number == 2:
        raise ValueError("nonsense")
    tried = Path(f"tried-{number}")
    if number == 3 and not tried.exists():
        tried.touch()
        raise ValueError("nonsense at first")
    return {"number": number}


def test_by_item_in_every_executor(run: Callable[..., Usage]) -> None:
    usage = run(batten.from_range(20).map(ask).options(batch_size=6).write_parquet("out"))
    assert usage.kept == usage.total == {"tokens": 190 + 20, "cost": Decimal("2.0")}
    assert usage.largest == {"tokens": 20, "cost": Decimal("0.1")}
    assert usage.calls_lost == 0


def test_workers_in_a_fresh_interpreter(job: JobFolder) -> None:
    job.write("""
        def ask(n):
            batten.usage(tokens=n)
            return {"n": n}

        pipeline = batten.from_range(8).map(ask).write_parquet("out")
    """)
    assert job.run("--workers", "spawn", "--jobs", "1", "--json").json["usage"]["kept"] == {
        "tokens": 28
    }


def test_failed_tries_and_quarantined_items_apart(run: Callable[..., Usage]) -> None:
    job = batten.from_range(6).map(ask_badly, retries=1).write_parquet("out")
    usage = run(job, warns=True)
    assert usage.kept == {"tokens": 50}
    assert usage.failed_tries == {"tokens": 10}
    assert usage.quarantined == {"tokens": 20}
    assert usage.repeated == {}


def test_a_quarantined_item_that_succeeds_later(run: Callable[..., Usage]) -> None:
    job = batten.from_range(6).map(ask_badly).write_parquet("out")
    assert run(job, warns=True).quarantined == {"tokens": 20}
    usage = run(job, warns=True, retry_quarantined=True)
    assert usage.kept == {"tokens": 50}
    assert usage.failed_tries == {"tokens": 20}
    assert usage.quarantined == {"tokens": 10}


def think(number: int) -> list[dict[str, int]]:
    batten.usage(thoughts=1)
    return [{"number": number, "part": part} for part in range(2)]


def answer(row: dict[str, int]) -> dict[str, int]:
    batten.usage(answers=1)
    tried = Path("tried-{number}-{part}".format(**row))
    if row["part"] == 1 and not tried.exists():
        tried.touch()
        raise ValueError("nonsense at first")
    return row


def test_only_the_step_that_failed_is_a_failed_try(run: Callable[..., Usage]) -> None:
    job = batten.from_range(4).flat_map(think).map(answer, retries=1).write_parquet("out")
    usage = run(job)
    assert usage.kept == {"thoughts": 4, "answers": 8}
    assert usage.failed_tries == {"answers": 4}


def embed(table: pa.Table) -> pa.Table:
    batten.usage(tokens=table.num_rows)
    return table.append_column("text", pa.array(["a"] * table.num_rows))


def refuse_three(table: pa.Table) -> pa.Table:
    if 3 in table["key"].to_pylist():
        batten.usage(tokens=1000)
        raise ValueError("one of them is bad")
    return embed(table)


def keep(number: int) -> dict[str, int]:
    batten.usage(looks=1)
    return {"number": number}


def test_a_batch_of_items_is_one_call(run: Callable[..., Usage]) -> None:
    job = batten.from_range(10).map(keep).map_batches(embed, items=4)
    assert run(job.write_parquet("out")).kept == {"looks": 10, "tokens": 10}


def test_a_batch_that_fails_is_tried_apart(run: Callable[..., Usage]) -> None:
    job = batten.from_range(8).map(keep).map_batches(refuse_three, items=4)
    usage = run(job.write_parquet("out"), warns=True)
    assert usage.kept == {"looks": 7, "tokens": 7}
    assert usage.failed_tries == {"tokens": 1000}
    assert usage.quarantined == {"looks": 1, "tokens": 1000}


async def await_answer(number: int) -> dict[str, int]:
    await asyncio.sleep(0)
    batten.usage({"usage": {"prompt_tokens": 3, "completion_tokens": number}})
    await asyncio.gather(*(asyncio.to_thread(batten.usage, looks=1) for _ in range(3)))
    if number == 7:
        raise ValueError("nonsense")
    return {"number": number}


def test_awaited_calls_tell_from_their_tasks_and_threads() -> None:
    job = batten.from_range(30).map(await_answer, concurrency=9).write_parquet("out")
    with pytest.warns(batten.QuarantinedWarning):
        usage = found(job.run(progress=False))
    assert usage.kept == {
        "input_tokens": 29 * 3,
        "output_tokens": sum(range(30)) - 7,
        "looks": 29 * 3,
    }
    assert usage.quarantined == {"input_tokens": 3, "output_tokens": 7, "looks": 3}


@pytest.mark.parametrize(
    "told",
    [
        {"usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}},
        SimpleNamespace(usage=SimpleNamespace(input_tokens=5, output_tokens=6, cost=None)),
        SimpleNamespace(usage={"input_tokens": 5, "output_tokens": 6}),
    ],
)
def test_answers_of_apis(told: object) -> None:
    def take(number: int) -> dict[str, int]:
        batten.usage(told)
        return {"number": number}

    job = batten.from_range(2).map(take).write_parquet("out")
    usage = found(job.run(progress=False, executor="serial", jobs=1))
    assert usage.kept == {"input_tokens": 10, "output_tokens": 12}


@pytest.mark.parametrize(
    "used",
    [{"cost": -1}, {"cost": float("nan")}, {"cost": "1"}, {"cost": True}, {"no name": 1}],
)
def test_what_is_no_usage_fails_the_item(used: dict[str, Any]) -> None:
    def take(number: int) -> dict[str, int]:
        batten.usage(**used)
        return {"number": number}

    job = batten.from_range(2).map(take).options(stop_when=None).write_parquet("out")
    with pytest.warns(batten.QuarantinedWarning):
        report = job.run(progress=False, executor="serial", jobs=1)
    assert report.quarantined == 2
    assert report.usage is not None
    assert (report.usage.total, report.usage.calls_untold) == ({}, 2)


@pytest.mark.parametrize("told", [{"usage": None}, {}, {"usage": {}}, "text"])
def test_an_answer_without_usage(told: object) -> None:
    with pytest.raises(ValueError, match="has no usage"):
        batten.usage(told)


def test_outside_of_a_run_it_does_nothing() -> None:
    batten.usage(cost=1)
    assert batten.from_range(2).map(ask).preview().rows
    assert os.listdir() == []


def in_a_thread(number: int) -> dict[str, int]:
    thread = threading.Thread(target=batten.usage, kwargs={"tokens": 1})
    thread.start()
    thread.join()
    return {"number": number}


def test_a_thread_of_the_function_tells_of_its_item() -> None:
    job = batten.from_range(4).map(in_a_thread).write_parquet("out")
    assert found(job.run(progress=False, jobs=2)).kept == {"tokens": 4}


def test_a_kept_answer_costs_nothing(tmp_path: Path) -> None:
    for output in ("other", "out"):
        job = batten.from_range(5).map(ask, cache=tmp_path / "cache").write_parquet(output)
        report = job.run(progress=False, executor="serial", jobs=1)
        assert (report.usage is None) is (output == "out")


def test_a_dataset_that_takes_the_place_of_another_keeps_what_that_had_used() -> None:
    job = batten.from_range(5).map(ask).write_parquet("out")
    first = found(job.run(progress=False, executor="serial", jobs=1))
    for times in (1, 2):
        usage = found(job.run(progress=False, executor="serial", jobs=1, fresh=True))
        assert usage.kept == first.kept
        assert usage.before == {"tokens": 15 * times, "cost": Decimal("0.5") * times}


def test_jobs_that_tell_nothing_have_no_accounts_of_it() -> None:
    job = batten.from_range(5).map(lambda n: {"n": n}).write_parquet("out")
    report = job.run(progress=False, executor="serial", jobs=1)
    assert report.usage is None
    assert report.to_json()["usage"] is None
    assert not list(Path("out.batten/runs").glob("*.usage"))


def test_what_is_told_twice_as_whole_numbers_stays_whole() -> None:
    job = batten.from_range(3).map(ask).write_parquet("out")
    usage = found(job.run(progress=False, executor="serial", jobs=1))
    assert isinstance(usage.kept["tokens"], int)
    assert usage.to_json()["kept"] == {"tokens": 6, "cost": 0.3}


def test_what_was_told_of_published_items_outlives_a_power_cut(seeded: random.Random) -> None:
    job = batten.from_range(3).map(ask).options(batch_size=1).write_parquet("out")
    layout = Layout("out")
    cuts = record_cuts(
        MemoryStorage(),
        lambda storage: run_on(storage, job, RunOptions(jobs=1, executor="serial")),
        layout,
    )
    seen = set()
    for found in find_states(cuts, layout, seeded):
        observation = observe_output(found.storage, layout, is_mine=True)
        usage = find_usage(found.storage, observation)
        published = sum(batch + 1 for batch in observation.parts)
        kept = usage.kept.get("tokens", 0) if usage is not None else 0
        assert published <= kept, found.how
        seen.add((published, kept))
    assert len(seen) > 3


def ask_once_refused(number: int) -> dict[str, int]:
    told = ask(number)
    refused = Path("refused")
    if number == 2 and not refused.exists():
        refused.touch()
        raise ValueError("not now")
    return told


def test_what_an_earlier_run_told_of_items_that_this_one_publishes_outlives_a_power_cut(
    seeded: random.Random,
) -> None:
    job = (
        batten.from_range(3)
        .map(ask_once_refused)
        .options(batch_size=3, on_error="raise")
        .write_parquet("out")
    )
    layout, storage = Layout("out"), MemoryStorage()
    options = RunOptions(jobs=1, executor="serial")
    with pytest.raises(batten.FailedRunError):
        run_on(storage, job, options)
    assert not observe_output(storage, layout, is_mine=True).parts
    cuts = record_cuts(storage, lambda storage: run_on(storage, job, options), layout)
    seen = set()
    for found in find_states(cuts, layout, seeded):
        observation = observe_output(found.storage, layout, is_mine=True)
        if not observation.parts:
            continue
        usage = find_usage(found.storage, observation)
        assert usage is not None, found.how
        assert usage.kept["tokens"] >= 6, found.how
        seen.add(found.how)
    assert seen


def test_on_an_object_store_each_call_is_an_object() -> None:
    storage = ObjectStorage(ObjectServer())
    job = batten.from_range(6).map(ask).options(batch_size=2).write_parquet("out")
    report = run_on(storage, job, RunOptions(jobs=1, executor="serial"))
    assert report.usage is not None
    assert report.usage.kept == {"tokens": 15 + 6, "cost": Decimal("0.6")}


def test_by_key(run: Callable[..., Usage], capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"id": f"k{n}", "n": n} for n in range(5)]
    source = batten.from_items(items, key="id").map(lambda item: ask(item["n"]))
    run(source.options(batch_size=2).write_parquet("out"))
    used = show("out", lists_usage=True).to_json()["usage_by_key"]
    expected = [(f"k{n}", {"tokens": n + 1, "cost": 0.1}) for n in range(5)]
    assert [(each["key"], each["used"]) for each in used] == expected
    assert show("out").to_json()["usage_by_key"] is None


def leave_begun() -> None:
    """A dataset, and a half-made one that is to take its place: two of its calls told."""
    batten.from_range(4).map(ask).write_parquet("out").run(progress=False)

    def stop_after_two(number: int) -> dict[str, int]:
        if number == 2:
            raise OSError(28, "no room")
        return ask(number + 100)

    job = batten.from_range(4).map(stop_after_two).options(batch_size=1).write_parquet("out")
    with pytest.raises(batten.StorageError):
        job.run(progress=False, executor="serial", fresh=True)


def test_what_a_given_up_fresh_run_used_is_not_forgotten() -> None:
    leave_begun()
    job = batten.from_range(4).map(ask).write_parquet("out")

    def fail(number: int) -> dict[str, int]:
        raise OSError(28, "no room")

    for _ in range(2):  # Once, however often it is given up.
        broken = batten.from_range(4).map(fail).write_parquet("out")
        with pytest.raises(batten.StorageError):
            broken.run(progress=False, executor="serial", fresh=True)
        usage = batten.diagnose("out").contents.usage
        assert usage is not None
        assert usage.repeated["tokens"] == 101 + 102
        assert usage.kept["tokens"] == 10
    usage = job.run(progress=False, executor="serial", fresh=True).usage
    assert usage is not None
    assert usage.before["tokens"] == 10 + 203


@pytest.mark.parametrize("damage", ["header", "check", "folder"])
def test_marks_that_can_not_be_read_count_as_lost_calls(damage: str) -> None:
    def stop(number: int) -> dict[str, int]:
        if number == 2:
            raise OSError(28, "no room")
        return ask(number)

    job = batten.from_range(4).map(stop).options(batch_size=1).write_parquet("out")
    with pytest.raises(batten.StorageError):
        job.run(progress=False, executor="serial")
    marks = Path("out.batten/runs/20300101T000000Z-abc.inflight")
    table = MarkTable(3, lambda size: make_table(marks, size))
    table.mark(0).begin(2)
    table.close()
    data = bytearray(marks.read_bytes())
    if damage == "header":
        data[0] ^= 1
    else:
        data[-8] ^= 1
    marks.write_bytes(data)
    if damage == "folder":
        marks.unlink()
        marks.mkdir()
    usage = batten.diagnose("out").contents.usage
    assert usage is not None
    assert usage.calls_lost >= {"header": 3, "check": 2, "folder": 1}[damage]


def make_table(path: Path, size: int) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(handle, size)
    return handle


def ask_at_second(number: int) -> dict[str, int]:
    """Its worker is killed at the first call, before anything was told."""
    if not Path("asked").exists():
        Path("asked").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(number)


def test_a_worker_dies_before_anything_was_told() -> None:
    job = batten.from_range(4).map(ask_at_second).write_parquet("out")
    assert found(job.run(progress=False, executor="processes", jobs=1)).calls_lost == 1


def test_the_death_of_a_worker_that_ends_the_run_is_counted() -> None:
    job = batten.from_range(4).map(ask_at_second).options(on_error="raise").write_parquet("out")
    with pytest.raises(batten.FailedRunError):
        job.run(progress=False, executor="processes", jobs=1)
    assert found(job.run(progress=False, executor="processes", jobs=1)).calls_lost == 1


def test_a_run_stops_before_anything_was_told() -> None:
    async def wait(number: int) -> dict[str, int]:
        if number == 2 and not Path("asked").exists():
            Path("asked").touch()
            raise OSError(28, "no room")
        if number < 2 and not Path("stopped").exists():
            await asyncio.Event().wait()
        return ask(number)

    job = batten.from_range(4).map(wait, concurrency=3).write_parquet("out")
    with pytest.raises(batten.StorageError):
        job.run(progress=False)
    Path("stopped").touch()
    assert batten.diagnose("out").contents.usage is None
    assert found(job.run(progress=False, accept_change=True)).calls_lost == 2


def test_crashes_are_forgotten_before_anything_was_told() -> None:
    """As where all items came to their ends."""
    storage, layout = MemoryStorage(), Layout("out")
    storage.ensure_folder(layout.runs)
    marks = Path("marks")
    table = MarkTable(3, lambda size: make_table(marks, size))
    table.mark(0).begin(2)
    table.close()
    storage.append(layout.in_flight("20300101T000000Z-abc"), marks.read_bytes())
    forget(storage, layout, "20300102T000000Z-abc")
    assert not list_marks(storage, layout)
    tally = tally_usage(storage, layout, is_running=False)
    assert (tally.is_empty, tally.calls_lost) == (True, 1)
