"""Files in an object store as the source of a job."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, ObjectRequest
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import StorageError, UsageError
from batten.sources.base import ItemsWanted, Unavailable
from batten.sources.files.object_files import ObjectFileSource
from batten.storage.objects.store import BucketStore
from batten.storage.staged_here import staging_folder
from batten.storage.twin.fates import Fate

FILES = {
    "clips/a.mp4": b"a",
    "clips/b/c.mp4": b"cc",
    "clips/b.mp4": b"bbb",
    "clips/b/.hidden.mp4": b"no",
    "clips/x.batten/z.mp4": b"no",
    "clips/d.txt": b"no",
    "else/e.mp4": b"no",
}


def put(prefix: str, files: dict[str, bytes]) -> None:
    store = BucketStore(prefix)
    for name, data in files.items():
        found = store.find(name)
        store.put_new(name, data) if found is None else store.put_if(name, data, found.version)


def measure(path: Path) -> dict[str, Any]:
    return {"size": len(path.read_bytes()), "name": path.name}


def run(pattern: str, output: Path | str, **options: Any) -> Any:
    made = batten.from_files(pattern, **options).map(measure).write_parquet(output)
    return made.run(executor="serial", progress=False)


def read_rows(output: Path | str) -> dict[str, int]:
    return {row["key"]: row["size"] for row in batten.open(output).to_arrow().to_pylist()}


def list_copies() -> list[Path]:
    return [each for each in Path(staging_folder(), "copies").rglob("*") if each.is_file()]


def test_objects_are_the_items(prefix: str, tmp_path: Path) -> None:
    put(prefix, FILES)
    output = tmp_path / "sizes"
    run(f"{prefix}/clips/**/*.mp4", output)
    assert read_rows(output) == {"a.mp4": 1, "b.mp4": 3, "b/c.mp4": 2}
    assert list(read_rows(output)) == sorted(read_rows(output), key=os.fsencode)
    gc.collect()
    assert list_copies() == []


def test_what_has_changed_is_computed_again(prefix: str, tmp_path: Path) -> None:
    put(prefix, FILES)
    output = tmp_path / "sizes"
    pattern = f"{prefix}/clips/*.mp4"
    assert run(pattern, output).executed_items == 2
    put(prefix, {"clips/b.mp4": b"four", "clips/new.mp4": b"new"})
    assert run(pattern, output).executed_items == 2
    assert read_rows(output) == {"a.mp4": 1, "b.mp4": 4, "new.mp4": 3}
    assert run(pattern, output).executed_items == 0


def test_source_and_output_lie_in_stores_and_workers_are_processes(
    prefix: str, tmp_path: Path
) -> None:
    put(prefix, FILES)
    output = f"{prefix}/sizes"
    (tmp_path / "job.py").write_text(
        "import batten\n\n\ndef measure(path):\n    return {'size': len(path.read_bytes())}\n\n\n"
        f"pipeline = batten.from_files('{prefix}/clips/**/*.mp4').map(measure)"
        f".write_parquet('{output}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read_rows(output) == {"a.mp4": 1, "b.mp4": 3, "b/c.mp4": 2}


def test_a_copy_lives_as_long_as_its_path(prefix: str) -> None:
    put(prefix, FILES)
    reader = ObjectFileSource(f"{prefix}/clips/*.mp4", folder=Path()).open()
    first, gone = reader.read(ItemsWanted(first_ordinal=0, count=2, keys=["a.mp4", "gone.mp4"]))
    assert isinstance(gone, Unavailable)
    assert isinstance(gone.error, FileNotFoundError)
    assert isinstance(first, Path)
    assert pickle.loads(pickle.dumps(first)) == first
    assert first.read_bytes() == b"a"
    place = str(first)
    del first
    gc.collect()
    assert not os.path.exists(place)


def test_copies_of_a_dead_process_go(prefix: str, tmp_path: Path) -> None:
    put(prefix, FILES)
    code = (
        "import os, signal\nfrom pathlib import Path\n"
        "from batten.sources.base import ItemsWanted\n"
        "from batten.sources.files.object_files import ObjectFileSource\n"
        f"reader = ObjectFileSource('{prefix}/clips/*.mp4', folder=Path()).open()\n"
        "kept = list(reader.read(ItemsWanted(first_ordinal=0, count=1, keys=['a.mp4'])))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert len(list_copies()) == 1
    reader = ObjectFileSource(f"{prefix}/clips/*.mp4", folder=Path()).open()
    list(reader.read(ItemsWanted(first_ordinal=0, count=1, keys=["b.mp4"])))
    gc.collect()
    assert list_copies() == []


@pytest.mark.parametrize("changes", [1, 99])
def test_an_object_that_changes_while_it_is_copied_is_no_mixture(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    large = 3 << 23
    put(prefix, {"clips/a.mp4": b"1" * large})
    store = BucketStore(prefix, is_probed=True)
    left = iter(range(changes))

    def fate(request: ObjectRequest) -> Fate:
        is_rest = request.headers.get("Range", request.headers.get("range", "")).startswith(
            f"bytes={1 << 24}"
        )
        if is_rest and next(left, None) is not None:
            found = store.find("clips/a.mp4")
            assert found is not None
            store.put_if("clips/a.mp4", os.urandom(1) * large, found.version)
        return Fate.DONE

    store.find("clips/a.mp4")  # It connects to the server, and not to the relay.
    with ObjectRelay(objects.port, fate) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        reader = ObjectFileSource(f"{prefix}/clips/*.mp4", folder=Path()).open()
        wanted = ItemsWanted(first_ordinal=0, count=1, keys=["a.mp4"])
        if changes == 1:
            (copy,) = reader.read(wanted)
            assert isinstance(copy, Path)
            data = copy.read_bytes()
            assert data == data[:1] * large
        else:
            with pytest.raises(StorageError):
                list(reader.read(wanted))


def test_where_copies_can_not_lie_no_item_is_blamed(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(prefix, FILES)
    monkeypatch.setenv("BATTEN_STAGING_DIR", "/dev/null/none")
    with pytest.raises(StorageError, match="Objects can't be copied to '/dev/null/none"):
        run(f"{prefix}/clips/**/*.mp4", tmp_path / "out")
    monkeypatch.delenv("BATTEN_STAGING_DIR")
    assert run(f"{prefix}/clips/**/*.mp4", tmp_path / "out").accounts.quarantined == 0
    assert len(read_rows(tmp_path / "out")) == 3


def test_a_process_that_a_function_forks_takes_no_copy_away(prefix: str) -> None:
    put(prefix, {"a.txt": b"a"})
    reader = ObjectFileSource(f"{prefix}/*.txt", folder=Path()).open()
    (copy,) = reader.read(ItemsWanted(first_ordinal=0, count=1, keys=["a.txt"]))
    assert isinstance(copy, Path)
    if (child := os.fork()) == 0:
        # Nothing else is collected: in a fork, what the client's threads held stays locked.
        try:
            del copy
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert copy.read_bytes() == b"a"


@pytest.mark.parametrize(
    "pattern",
    ["s3://key:secret@bucket/x/*", "s3://bucket/x?secret=1", "s3://bucket/x#1/*", "s3://b/../*"],
)
def test_a_pattern_with_a_secret_is_refused_and_not_shown(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        batten.from_files(pattern)
    assert "secret" not in str(caught.value)


def test_what_can_not_be_is_refused(prefix: str, tmp_path: Path) -> None:
    put(prefix, FILES)
    with pytest.raises(UsageError, match="read all objects"):
        batten.from_files(f"{prefix}/clips/*.mp4", changed="content")
    with pytest.raises(UsageError, match="among the objects"):
        run(f"{prefix}/**/*.mp4", f"{prefix}/sizes")
    with pytest.raises(StorageError, match="nothing at"):
        run(f"{prefix}/no/*.mp4", tmp_path / "sizes")
