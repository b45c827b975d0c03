"""Runs are killed at any request and any file call: no request is handed in twice, and the accounts
are what the vendor charged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fault, KillAfter, KillBefore, TearWrite
from batten.crashlab.power import find_different
from batten.crashlab.sweeping import Experiment, Trail, sweep
from batten.drive.run import run_on
from batten.ledger.facts.observe import observe_output
from batten.ledger.history.submissions import list_submissions
from batten.ledger.history.usage import find_usage
from batten.model.disk.names import Layout
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage

if TYPE_CHECKING:
    from conftest import VendorServer

ITEMS = 7
BATTEN = str(Path(sys.executable).with_name("batten"))

PROGRAM = """
import batten

def request(number):
    return {{"model": "m", "messages": [{{"role": "user", "content": f"item {{number}}"}}]}}

def parse(answer, number):
    return {{"text": answer["choices"][0]["message"]["content"]}}

pipeline = (
    batten.from_range({items})
    .map_batch_api(request, parse=parse, base_url="{base_url}", poll_seconds=0.01, max_requests=4)
    .options(batch_size=3)
    .write_parquet("features/")
)
"""

AT_A_TIME = 8
"""Runs wait for the vendor most of their time."""

HANG_SECONDS = 600.0
"""On a busy machine a run may take many times as long as it needs."""

FAULTS: list[Callable[[int], Fault]] = [KillBefore, KillAfter, TearWrite]


def name_of(folder: Path) -> str:
    return "-".join(folder.parts[-2:])


def prepare(vendor: VendorServer, folder: Path) -> None:
    """The vendor fails a line, expires a batch and loses an answer on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    program = PROGRAM.format(items=ITEMS, base_url=vendor.address(name_of(folder)))
    (folder / "job.py").write_text(textwrap.dedent(program))
    account = vendor.account(name_of(folder))
    account.looks = 0
    account.outcomes.append("expired")


def check_always(vendor: VendorServer, folder: Path, trail: Trail | None = None) -> None:
    account = vendor.account(name_of(folder))
    twice = {name: times for name, times in account.handed_in.items() if times > 1}
    assert not twice, twice
    usage = batten.diagnose(folder / "features").contents.usage
    told = usage.total.get("input_tokens", 0) if usage is not None else 0
    assert told <= account.tokens


def check_done(vendor: VendorServer, folder: Path, trail: Trail | None = None) -> None:
    check_always(vendor, folder)
    account = vendor.account(name_of(folder))
    usage = batten.diagnose(folder / "features").contents.usage
    assert usage is not None
    assert usage.total["input_tokens"] == account.tokens, (usage, account.charged)
    assert usage.kept == usage.total
    assert usage.calls_lost == 0
    texts = batten.open(folder / "features").to_arrow().column("text").to_pylist()
    assert texts == [f"ITEM {n}" for n in range(ITEMS)]
    assert not list((folder / "features.batten" / "submissions").iterdir())


def experiment(vendor: VendorServer) -> Experiment:
    return Experiment(
        prepare=partial(prepare, vendor),
        command=lambda folder: [BATTEN, "run", "job.py", "--quiet"],
        folders=lambda folder: [folder / "features", folder / "features.batten"],
        check=partial(check_done, vendor),
        check_always=partial(check_always, vendor),
        is_forked=True,
        timeout_seconds=HANG_SECONDS,
        # What the vendor gets between two file calls, `test_at_any_request` has kills for.
        is_seen_whole=True,
    )


@needs_tracing
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_at_any_file_call(
    vendor: VendorServer, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        experiment(vendor),
        tmp_path / f"killed-{sample}",
        faults=FAULTS,
        sample=sample,
        seed=seeded.getrandbits(32),
        jobs=AT_A_TIME,
    )
    report.raise_on_failures()
    assert report.hit


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(300, marks=pytest.mark.crash)])
def test_killed_again_in_the_rerun(
    vendor: VendorServer, sample: int, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        experiment(vendor),
        tmp_path / f"again-{sample}",
        faults=FAULTS,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=True,
        jobs=AT_A_TIME,
    )
    report.raise_on_failures()


def run_killed(vendor: VendorServer, folder: Path, number: int, when: str) -> bool:
    """Kill the run at that request; whether it came so far."""
    account = vendor.account(name_of(folder))
    # The server waits until it knows the process: nothing is answered before.
    started: list[subprocess.Popen[bytes]] = []
    killed: list[int] = []
    begins = account.asked.total()

    def watch(asked: int, moment: str) -> None:
        if not killed and (asked - begins, moment) == (number, when):
            killed.append(asked)
            started[0].kill()
            started[0].wait()

    command = [BATTEN, "run", "job.py", "--quiet"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    started.append(process)
    account.watch = watch
    process.wait()
    account.watch = lambda asked, moment: None
    return bool(killed)


def list_points() -> Iterator[tuple[int, str]]:
    for number in range(1, 40):
        yield number, "before"
        yield number, "after"


@pytest.mark.parametrize(
    "points", [[(2, "after"), (5, "before")], pytest.param(None, marks=pytest.mark.crash, id="all")]
)
@pytest.mark.parametrize("lag", [0, 2])
def test_at_any_request(
    vendor: VendorServer, points: list[tuple[int, str]] | None, lag: int, tmp_path: Path
) -> None:
    hit = 0
    for number, when in points or list_points():
        folder = tmp_path / f"at-{lag}-{number}-{when}"
        prepare(vendor, folder)
        is_hit = run_killed(vendor, folder, number, when)
        vendor.account(name_of(folder)).lag = lag
        check_always(vendor, folder)
        run_to_its_end(folder)
        check_done(vendor, folder)
        hit += is_hit
        if not is_hit:
            break
    assert hit


def run_to_its_end(folder: Path) -> None:
    command = [BATTEN, "run", "job.py", "--quiet"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_two_runs_at_a_time(vendor: VendorServer, tmp_path: Path) -> None:
    """One is busy with it, the other is refused."""
    folder = tmp_path / "two"
    prepare(vendor, folder)
    command = [BATTEN, "run", "job.py", "--quiet"]
    runs = [
        subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, env=dict(os.environ))
        for _ in range(2)
    ]
    codes = sorted(process.wait() for process in runs)
    assert codes in ([0, 0], [0, 6])
    check_done(vendor, folder)


def test_what_is_asked_for_outlives_a_power_cut(
    vendor: VendorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a power cut leaves when the vendor begins a batch, the next run looks for it. What
    it leaves when the accounts are closed has all costs."""
    monkeypatch.chdir(tmp_path)
    storage, layout = MemoryStorage(), Layout("features")
    left: list[MemoryStorage] = []

    def watch(number: int, when: str) -> None:
        if when == "before" and vendor.asked["POST /batches"] > len(vendor.batches):
            left.extend(find_different(storage, layout))

    vendor.watch = watch
    job = batten.from_range(ITEMS).map_batch_api(
        request, parse=parse, base_url=vendor.base_url, poll_seconds=0.01, max_requests=4
    )
    report = run_on(storage, job.write_parquet("features"), RunOptions(jobs=1))
    assert left
    for state in left:
        asked = [each for each in list_submissions(state, layout) if each.is_asked]
        assert sum(len(each.requests) for each in asked if not each.is_answered) >= 1
        assert all(each.file for each in asked)
    for state in find_different(storage, layout):
        usage = find_usage(state, observe_output(state, layout, is_mine=True))
        assert usage is not None
        assert usage.total["input_tokens"] == vendor.tokens
    assert report.usage is not None
    assert report.usage.kept["input_tokens"] == vendor.tokens


def request(number: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"item {number}"}]}


def parse(answer: Any, number: int) -> dict[str, Any]:
    return {"text": answer["choices"][0]["message"]["content"]}
