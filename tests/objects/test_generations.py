"""A dataset in a real object store takes the place of another one, and the run is killed.

What a reader finds at each moment is tried in memory, by tests/engine/test_generations.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random

import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, kill_at, number_changes
from batten.crashlab.servers.object_server import BUCKET, ObjectStoreServer
from batten.ledger.generations import find_current
from batten.model.disk.names import Layout
from batten.model.words import State
from batten.page.serving import LivePages
from batten.storage.objects.probe import PROBE_NAME
from batten.storage.objects.store import BucketStore
from batten.storage.twin.fates import Fate

LAYOUT = Layout("rows", is_shared=True)
ITEMS = 6
JOB = """
import os
import sys

import batten


def tell(number):
    return {{"number": number, "maker": os.environ["MAKER"]}}


pipeline = batten.from_range(6).map(tell).options(batch_size=3).write_parquet("{output}")
if __name__ == "__main__":
    pipeline.run(executor="serial", progress=False, fresh=sys.argv[1:] == ["fresh"])
"""


def start(folder: Path, output: str, maker: str, *words: str) -> subprocess.Popen[bytes]:
    (folder / "job.py").write_text(JOB.format(output=output))
    return subprocess.Popen(
        [sys.executable, "job.py", *words],
        cwd=folder,
        env={**os.environ, "MAKER": maker},
        start_new_session=True,
    )


def read_makers(output: str) -> set[str]:
    rows = batten.open(output).to_arrow().to_pylist()
    assert [row["number"] for row in rows] == [*range(ITEMS)]
    return {row["maker"] for row in rows}


def list_all(store: BucketStore, folder: str = "") -> list[str]:
    found = []
    for entry in store.list(folder):
        found += list_all(store, entry.name) if entry.is_folder else [entry.name]
    return found


def refuse_left(prefix: str) -> None:
    """Raises where anything is left of another generation."""
    store = BucketStore(prefix)
    current = find_current(store, LAYOUT)
    own = (f"{current.output}/", f"{current.control}/")
    # A run that was killed while it tried the store leaves the object of that.
    own += (PROBE_NAME,)
    beside = [name for name in list_all(store) if not name.startswith(own)]
    assert sorted(beside) == [LAYOUT.current, LAYOUT.lock]


@pytest.fixture(scope="module")
def changes(objects: ObjectStoreServer, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """Which requests of an undisturbed fresh run change something."""
    folder = tmp_path_factory.mktemp("counted")
    output = f"s3://{BUCKET}/{os.urandom(6).hex()}/rows"
    with (
        pytest.MonkeyPatch.context() as patch,
        ObjectRelay(objects.port, lambda request: Fate.DONE) as relay,
    ):
        for name, value in objects.environment(relay.port).items():
            patch.setenv(name, value)
        patch.setenv("BATTEN_STAGING_DIR", str(folder))
        assert start(folder, output, "old").wait() == 0
        before = len(relay.requests)
        assert start(folder, output, "new", "fresh").wait() == 0
        return number_changes(relay.requests[before:])


@pytest.mark.parametrize("most", [2, pytest.param(None, marks=pytest.mark.crash, id="each")])
def test_killed_at_a_request_of_a_fresh_run(
    prefix: str,
    objects: ObjectStoreServer,
    changes: list[int],
    most: int | None,
    seeded: Random,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    every = [*product(changes, (Fate.LOST, Fate.UNHEARD, Fate.LATE))]
    for at, mishap in every if most is None else seeded.sample(every, most):
        place, begun = f"{prefix}/{at}-{mishap.name}", list[subprocess.Popen[bytes]]()
        output = f"{place}/rows"
        assert start(tmp_path, output, "old").wait() == 0

        fate = kill_at(at, mishap, begun)
        with monkeypatch.context() as patch, ObjectRelay(objects.port, fate) as relay:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
            begun.append(start(tmp_path, output, "new", "fresh"))
            begun[0].wait()
            patch.undo()
            assert read_makers(output) in ({"old"}, {"new"})
            relay.deliver_late()
            assert read_makers(output) in ({"old"}, {"new"})
            assert start(tmp_path, output, "last", "fresh").wait() == 0
        assert read_makers(output) <= {"new", "last"}
        assert batten.diagnose(output).state is State.COMPLETE
        refuse_left(place)


def test_a_damaged_record_of_generations_hides_no_other_output_on_the_page(
    prefix: str, tmp_path: Path
) -> None:
    BucketStore(prefix).put_new(LAYOUT.current, b"no record")
    pages = LivePages([str(tmp_path / "absent"), f"{prefix}/{LAYOUT.output}"])
    page = pages.get(True).decode()
    assert "No page can be made" not in page
    assert "2 outputs" in page
