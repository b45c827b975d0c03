"""Runs over a real object store: killed at a request, unanswered, overtaken, and the store killed.

Whatever happens, each item is there once when a run has ended well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import batten
from batten.crashlab.servers.object_relay import (
    ObjectRelay,
    ObjectRequest,
    number_changes,
    number_places,
)
from batten.crashlab.servers.object_server import BUCKET, ObjectStoreServer
from batten.errors import StorageError
from batten.model.words import RunStatus, State
from batten.storage.objects import lease
from batten.storage.twin.fates import DEATHS, MISHAPS, Fate

ITEMS = 12
BATCH_SIZE = 4
JOB = """
import batten


def square(number):
    if number == 7:
        raise ValueError("seven")
    return {{"number": number, "square": number * number}}


pipeline = batten.from_range({items}).map(square)
pipeline = pipeline.options(batch_size={batch_size}).write_parquet("{output}")
if __name__ == "__main__":
    from batten.storage.objects import lease

    lease.SECONDS = {lease_seconds}
    pipeline.run(executor="serial", progress=False)
"""
EVERY = pytest.mark.parametrize("most", [1, pytest.param(None, marks=pytest.mark.crash, id="each")])


def square(number: int) -> dict[str, int]:
    if number == 7:
        raise ValueError("seven")
    return {"number": number, "square": number * number}


def pipeline(output: str) -> Any:
    made = batten.from_range(ITEMS).map(square).options(batch_size=BATCH_SIZE)
    return made.write_parquet(output)


def run(output: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline(output).run(executor="serial", progress=False)


def write_job(output: str, *, lease_seconds: float = lease.SECONDS) -> str:
    return JOB.format(
        items=ITEMS, batch_size=BATCH_SIZE, output=output, lease_seconds=lease_seconds
    )


def start(
    folder: Path, output: str, *, lease_seconds: float = lease.SECONDS
) -> subprocess.Popen[bytes]:
    (folder / "job.py").write_text(write_job(output, lease_seconds=lease_seconds))
    words = [sys.executable, "-W", "ignore", "job.py"]
    return subprocess.Popen(words, cwd=folder, start_new_session=True)


def finish(folder: Path, output: str) -> None:
    """A last run, undisturbed, after which all is there once."""
    assert start(folder, output).wait() == 0
    refuse_lack(output)


def refuse_lack(output: str) -> None:
    """Raises unless each item is there once, by the parts and by the accounts."""
    told = batten.diagnose(output)
    assert told.state in (State.COMPLETE, State.COMPLETE_WITH_ORPHANS), told
    rows = batten.open(output).to_arrow().to_pylist()
    assert Counter(row["number"] for row in rows) == Counter({*range(ITEMS)} - {7})
    assert all(row["square"] == row["number"] ** 2 for row in rows)
    assert len(list(batten.open(output).quarantined())) == 1


def use(relay: ObjectRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")


def pass_all(request: ObjectRequest) -> Fate:
    return Fate.DONE


@pytest.fixture(scope="module")
def requests(objects: ObjectStoreServer) -> list[ObjectRequest]:
    """Those that an undisturbed run makes."""
    with pytest.MonkeyPatch.context() as patch, ObjectRelay(objects.port, pass_all) as relay:
        for name, value in objects.environment(relay.port).items():
            patch.setenv(name, value)
        run(f"s3://{BUCKET}/{os.urandom(6).hex()}/counted")
        return relay.requests


def choose(numbers: list[int], random: Random, most: int | None) -> list[int]:
    return numbers if most is None else sorted(random.sample(numbers, most))


def test_a_run_and_what_looks_at_it(prefix: str, tmp_path: Path) -> None:
    output = f"{prefix}/squares"
    run(output)
    refuse_lack(output)
    assert run(output).status is RunStatus.NOTHING_TO_DO
    for words in (
        ["verify", output],
        ["show", output],
        ["export", output, "rows.jsonl"],
        ["report", output],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "batten", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == ITEMS - 1
    (page,) = (path.read_text() for path in tmp_path.glob("*.html"))
    assert "Throughput and failures over time" in page
    assert "No commit record tells" not in page
    page = (tmp_path / "report.html").read_text()
    assert f"<title>COMPLETE · {output}</title>" in page
    assert "1 item failed for good" in page


def test_workers_begin_in_a_fresh_interpreter(prefix: str, tmp_path: Path) -> None:
    output = f"{prefix}/squares"
    (tmp_path / "job.py").write_text(write_job(output))
    done = subprocess.run(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "fresh interpreter" in done.stderr
    refuse_lack(output)


@EVERY
@pytest.mark.parametrize("mishap", MISHAPS)
def test_something_happens_to_a_request(
    prefix: str,
    objects: ObjectStoreServer,
    requests: list[ObjectRequest],
    mishap: Fate,
    most: int | None,
    seeded: Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for at in choose(number_places(requests, seeded), seeded, most):
        output = f"{prefix}/{at}"

        def fate(request: ObjectRequest, at: int = at) -> Fate:
            return mishap if request.number == at else Fate.DONE

        with monkeypatch.context() as patch, ObjectRelay(objects.port, fate) as relay:
            use(relay, patch)
            run(output)
            relay.deliver_late()
        refuse_lack(output)


@EVERY
@pytest.mark.parametrize("death", DEATHS)
def test_killed_at_a_request(
    prefix: str,
    objects: ObjectStoreServer,
    requests: list[ObjectRequest],
    death: Fate,
    most: int | None,
    seeded: Random,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for at in choose(number_changes(requests), seeded, most):
        output = f"{prefix}/{at}"
        begun: list[subprocess.Popen[bytes]] = []

        def fate(request: ObjectRequest, at: int = at) -> Fate:
            return death if request.number == at else Fate.DONE

        def kill(begun: list[subprocess.Popen[bytes]] = begun) -> None:
            os.killpg(begun[0].pid, signal.SIGKILL)

        with monkeypatch.context() as patch, ObjectRelay(objects.port, fate, kill) as relay:
            use(relay, patch)
            begun.append(start(tmp_path, output))
            begun[0].wait()
            patch.undo()
            relay.deliver_late() if seeded.random() < 0.5 else None
            finish(tmp_path, output)
            relay.deliver_late()
        refuse_lack(output)


@EVERY
def test_overtaken_at_a_request(
    prefix: str,
    objects: ObjectStoreServer,
    requests: list[ObjectRequest],
    most: int | None,
    seeded: Random,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """While it stands still another run does all: by the clock of that its lease is over."""
    for at in choose(number_places(requests, seeded), seeded, most):
        output = f"{prefix}/{at}"

        def fate(request: ObjectRequest, at: int = at, output: str = output) -> Fate:
            if request.number == at:
                assert start(tmp_path, output, lease_seconds=0.2).wait() == 0
            return Fate.DONE

        with monkeypatch.context() as patch, ObjectRelay(objects.port, fate) as relay:
            use(relay, patch)
            overtaken = start(tmp_path, output, lease_seconds=1000.0)
            patch.undo()
            overtaken.wait()
        finish(tmp_path, output)


def test_the_store_is_killed_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with ObjectStoreServer() as server:
        killed: list[int] = []

        def fate(request: ObjectRequest) -> Fate:
            if request.is_change and request.number > 30 and not killed:
                killed.append(request.number)
                server.crash()
                server.start()
            return Fate.DONE

        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        with ObjectRelay(server.port, fate) as relay:
            use(relay, monkeypatch)
            output = "s3://batten/squares"
            for _ in range(5):
                try:
                    run(output)
                except StorageError:
                    continue
                break
            refuse_lack(output)
        assert killed
