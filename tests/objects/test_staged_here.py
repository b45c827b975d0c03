"""What is staged of a dataset in an object store: it lies on this machine."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, ObjectRequest
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import StorageError
from batten.model.words import State
from batten.storage.base import Store
from batten.storage.local.folder import LocalStorage
from batten.storage.objects.store import BucketStore
from batten.storage.staged_here import FOLDER_VARIABLE, StagedHere
from batten.storage.twin.fates import Fate
from batten.storage.twin.objects import ObjectStorage
from batten.testing import StoreContract

BATCH_SIZE = 3
STAGED = "rows.batten/staged/000000-000000-000002-0123456789abcdef0123456789abcdef.arrow"


class TestStagedHere(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.root = str(tmp_path)

    def make_store(self) -> Store:
        return StagedHere(ObjectStorage(is_over=lambda: False), self.root)


def pass_all(request: ObjectRequest) -> Fate:
    return Fate.DONE


def is_change_of_dataset(request: ObjectRequest) -> bool:
    """The lease is written anew by the clock."""
    return request.is_change and not request.path.endswith("/lock")


def fail_first(number: int) -> dict[str, int]:
    if number % BATCH_SIZE == 0:
        raise ValueError("the first of a batch")
    return {"number": number}


def count_changes(output: str, batches: int, objects: ObjectStoreServer, function: Any) -> int:
    made = batten.from_range(batches * BATCH_SIZE).map(function).options(batch_size=BATCH_SIZE)
    with (
        pytest.MonkeyPatch.context() as patch,
        ObjectRelay(objects.port, pass_all) as relay,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        made.write_parquet(output).run(executor="serial", progress=False)
        return sum(map(is_change_of_dataset, relay.requests))


@pytest.mark.parametrize(("function", "changes"), [(dict, 2), (fail_first, 3)])
def test_a_batch_takes_two_changes_and_with_failures_three(
    prefix: str, objects: ObjectStoreServer, function: Any, changes: int
) -> None:
    act = (lambda number: {"number": number}) if function is dict else function
    few = count_changes(f"{prefix}/few", 4, objects, act)
    many = count_changes(f"{prefix}/many", 10, objects, act)
    assert many - few == 6 * changes


JOB = """
import os
import signal

import batten


def count(number):
    open("called", "a").write(f"{{number}}\\n")
    if number == int(os.environ["DEADLY"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"number": number}}


pipeline = batten.from_range(8).map(count).options(batch_size=8).write_parquet("{output}")
if __name__ == "__main__":
    from batten.work import bench

    bench.CHUNK_SECONDS = 0.0
    pipeline.run(executor="serial", progress=False)
"""


def run_job(folder: Path, output: str, *, deadly: int = -1) -> tuple[int, list[int]]:
    """How it ended, and the items that it called the function with."""
    called = folder / "called"
    called.write_text("")
    (folder / "job.py").write_text(JOB.format(output=output))
    known = {**os.environ, "DEADLY": str(deadly)}
    done = subprocess.run([sys.executable, "job.py"], cwd=folder, env=known, check=False)
    return done.returncode, [int(line) for line in called.read_text().split()]


def test_a_killed_run_goes_on_here_with_what_it_had_finished(prefix: str, tmp_path: Path) -> None:
    output = f"{prefix}/rows"
    assert run_job(tmp_path, output, deadly=5) == (-signal.SIGKILL, list(range(6)))
    told = batten.diagnose(output)
    assert (told.state, told.items.staged) == (State.INTERRUPTED, 5)
    assert not list(BucketStore(prefix).list("rows.batten/staged"))
    assert run_job(tmp_path, output) == (0, [5, 6, 7])
    assert batten.diagnose(output).state is State.COMPLETE
    assert [row["number"] for row in batten.open(output).to_arrow().to_pylist()] == [*range(8)]


def test_on_another_machine_it_is_computed_again(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"{prefix}/rows"
    run_job(tmp_path, output, deadly=5)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    assert batten.diagnose(output).items.staged == 0
    assert run_job(tmp_path, output) == (0, [*range(8)])


def test_another_dataset_at_the_address_takes_nothing_of_it(prefix: str, tmp_path: Path) -> None:
    output, store = f"{prefix}/rows", BucketStore(prefix)
    run_job(tmp_path, output, deadly=5)
    for folder in ("rows.batten", "rows.batten/plan", "rows.batten/runs"):
        for entry in store.list(folder):
            if entry.is_file:
                store.delete_if(entry.name, entry.version)
    assert run_job(tmp_path, output) == (0, [*range(8)])


def test_a_folder_that_can_not_be_made_is_named(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    pipeline = batten.from_range(3).map(lambda number: {"number": number})
    with pytest.raises(StorageError, match="put aside") as caught:
        pipeline.write_parquet(f"{prefix}/rows").run(executor="serial", progress=False)
    assert FOLDER_VARIABLE in caught.value.next


def test_it_lies_where_only_this_user_looks(tmp_path: Path) -> None:
    store = StagedHere(ObjectStorage(), str(tmp_path / "staged"))
    store.put_new(STAGED, b"rows")
    (made,) = (tmp_path / "staged").iterdir()
    assert made.stat().st_mode & 0o077 == 0
    assert LocalStorage(made).read(STAGED) == b"rows"
    assert pickle.loads(pickle.dumps(StagedHere(BucketStore("s3://x/y"), "/z"))).place == "s3://x/y"
