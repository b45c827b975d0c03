"""Records and datasets in an object store as the source of a job."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, ObjectRequest
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import RefusedError, StorageError, UsageError
from batten.sources.base import ItemsWanted
from batten.storage.objects.store import BucketStore
from batten.storage.twin.fates import Fate

ROWS = [{"id": f"n{number}", "value": str(number)} for number in range(30)]


def put(prefix: str, name: str, data: bytes) -> None:
    store = BucketStore(prefix, is_probed=True)
    found = store.find(name)
    store.put_new(name, data) if found is None else store.put_if(name, data, found.version)


def as_jsonl(rows: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, str]]) -> bytes:
    return b"id,value\n" + b"".join(f"{row['id']},{row['value']}\n".encode() for row in rows)


def as_parquet(rows: list[dict[str, str]], group: int = 7) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=group)
    return file.getvalue()


def as_zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data))


Make = Callable[..., Any]

KINDS: dict[str, tuple[Make, Callable[[list[dict[str, str]]], bytes]]] = {
    "rows.jsonl": (batten.from_jsonl, as_jsonl),
    "rows.csv": (batten.from_csv, as_csv),
    "rows.parquet": (batten.from_parquet, as_parquet),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "rows.jsonl.gz": gzip.compress,
    "rows.jsonl.bz2": bz2.compress,
    "rows.jsonl.xz": lzma.compress,
    "rows.jsonl.zst": as_zstd,
}


def keep(row: dict[str, str]) -> dict[str, str]:
    return {"value": row["value"]}


def run(pipeline: Any, output: Path | str, **options: Any) -> Any:
    made = pipeline.map(keep).options(batch_size=10).write_parquet(output)
    return made.run(executor="serial", progress=False, **options)


def read_rows(output: Path | str) -> dict[str, str]:
    return {row["key"]: row["value"] for row in batten.open(output).to_arrow().to_pylist()}


def wanted(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["id"]: row["value"] for row in rows}


@pytest.mark.parametrize("name", KINDS)
def test_records_are_the_items(prefix: str, tmp_path: Path, name: str) -> None:
    make, write = KINDS[name]
    put(prefix, f"in/{name}", write(ROWS))
    output = tmp_path / "out"
    assert run(make(f"{prefix}/in/{name}", key="id"), output).executed_items == 30
    assert read_rows(output) == wanted(ROWS)
    changed = [*ROWS[:3], {"id": "n3", "value": "other"}, *ROWS[4:], {"id": "n30", "value": "30"}]
    put(prefix, f"in/{name}", write(changed))
    assert run(make(f"{prefix}/in/{name}", key="id"), output).executed_items == 2
    assert read_rows(output) == wanted(changed)
    assert run(make(f"{prefix}/in/{name}", key="id"), output).executed_items == 0


@pytest.mark.parametrize("name", KINDS)
def test_without_a_key_rows_do_not_shift(prefix: str, tmp_path: Path, name: str) -> None:
    make, write = KINDS[name]
    put(prefix, name, write(ROWS))
    output = tmp_path / "out"
    run(make(f"{prefix}/{name}"), output)
    put(prefix, name, write([*ROWS, ROWS[0]]))
    assert run(make(f"{prefix}/{name}"), output).executed_items == 1
    put(prefix, name, write(ROWS[1:]))
    with pytest.raises(RefusedError, match="row 1 is not what it was"):
        run(make(f"{prefix}/{name}"), output)


@pytest.mark.parametrize("name", PACKED)
def test_compressed_text(prefix: str, tmp_path: Path, name: str) -> None:
    put(prefix, name, PACKED[name](as_jsonl(ROWS)))
    source = batten.from_jsonl(f"{prefix}/{name}", key="id")
    run(source, tmp_path / "out")
    assert read_rows(tmp_path / "out") == wanted(ROWS)
    reader = source.source.open()
    ends = [0, len(as_jsonl(ROWS[:20]))]
    for number, start in ((20, ends[1]), (0, ends[0])):  # Onward, and back again.
        (item,) = reader.read(ItemsWanted(first_ordinal=0, count=1, positions=[start]))
        assert item == ROWS[number]


def test_a_prefix_of_parquet_files(prefix: str, tmp_path: Path) -> None:
    for name, rows in (("b.parquet", ROWS[10:]), ("a.parquet", ROWS[:10])):
        put(prefix, f"in/{name}", as_parquet(rows))
    for name in ("_hidden.parquet", "c.txt", "deep/d.parquet"):
        put(prefix, f"in/{name}", b"no")
    run(batten.from_parquet(f"{prefix}/in"), tmp_path / "out")
    values = [row["value"] for row in batten.open(tmp_path / "out").to_arrow().to_pylist()]
    assert values == [row["value"] for row in ROWS]


@pytest.mark.parametrize("jobs", [1, 2])
def test_from_a_store_to_a_store_by_command(prefix: str, tmp_path: Path, jobs: int) -> None:
    put(prefix, "rows.csv", as_csv(ROWS))
    (tmp_path / "job.py").write_text(
        "import batten\n\n\ndef keep(row):\n    return {'value': row['value']}\n\n\n"
        f"pipeline = batten.from_csv('{prefix}/rows.csv', key='id').map(keep)"
        f".options(batch_size=10).write_parquet('{prefix}/out')\n"
    )
    command(tmp_path, "run", "job.py", "--jobs", str(jobs))
    assert read_rows(f"{prefix}/out") == wanted(ROWS)


def test_to_a_folder_by_processes(prefix: str, tmp_path: Path) -> None:
    put(prefix, "rows.jsonl", as_jsonl(ROWS))
    (tmp_path / "job.py").write_text(
        "import batten\n\n\ndef keep(row):\n    return {'value': row['value']}\n\n\n"
        f"pipeline = batten.from_jsonl('{prefix}/rows.jsonl', key='id').map(keep)"
        ".options(batch_size=10).write_parquet('out')\n"
    )
    command(tmp_path, "run", "job.py", "--jobs", "2")
    assert read_rows(tmp_path / "out") == wanted(ROWS)
    found = command(tmp_path, "diagnose", "out", "--inputs", "--json")
    assert json.loads(found)["state"] == "COMPLETE"
    put(prefix, "rows.jsonl", as_jsonl(ROWS[:-1]))
    found = command(tmp_path, "diagnose", "out", "--inputs", "--json", code=None)
    assert "gone" in found


def command(folder: Path, *words: str, code: int | None = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "batten", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", KINDS)
def test_what_changes_while_it_is_read_is_told_as_changed(
    prefix: str,
    objects: ObjectStoreServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    """Each range is asked for on the condition of the version that was opened."""
    make, write = KINDS[name]
    rows = [{"id": f"n{number}", "value": os.urandom(200).hex()} for number in range(6000)]
    store = BucketStore(prefix, is_probed=True)
    put(prefix, name, write(rows))
    store.find(name)  # It connects to the server, and not to the relay.
    asked: list[str] = []

    def fate(request: ObjectRequest) -> Fate:
        asked_range = request.headers.get("Range", request.headers.get("range", ""))
        if request.method == "GET" and request.path.endswith(name):
            asked.append(asked_range)
            if len(asked) == 2:
                found = store.find(name)
                assert found is not None
                store.put_if(name, write(rows[::-1]), found.version)
        return Fate.DONE

    with ObjectRelay(objects.port, fate) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        with pytest.raises(RefusedError, match="was changed while the run was at work"):
            run(make(f"{prefix}/{name}", key="id"), tmp_path / "out")
        assert all(asked), "an object was asked for whole"
        run(make(f"{prefix}/{name}", key="id"), tmp_path / "out")
    assert read_rows(tmp_path / "out") == wanted(rows)


def test_what_is_not_there_is_waited_for(prefix: str, tmp_path: Path) -> None:
    for make, _ in KINDS.values():
        with pytest.raises(StorageError, match=r"no object|no \*.parquet|nothing is there"):
            run(make(f"{prefix}/none"), tmp_path / "out")
    put(prefix, "folder/x.jsonl", b"{}\n")
    with pytest.raises(UsageError, match="there are some below it"):
        run(batten.from_jsonl(f"{prefix}/folder"), tmp_path / "out")


@pytest.mark.parametrize(
    "address", ["s3://key:secret@bucket/x", "s3://bucket/x?secret=1", "s3://bucket/x#secret"]
)
@pytest.mark.parametrize(
    "make", [batten.from_jsonl, batten.from_csv, batten.from_parquet, batten.from_dataset]
)
def test_an_address_with_a_secret_is_refused_and_not_shown(make: Make, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(address)
    assert "secret" not in f"{caught.value} {caught.value.what} {caught.value.next}"


def test_the_output_is_not_its_own_input(prefix: str) -> None:
    put(prefix, "both/a.parquet", as_parquet(ROWS))
    with pytest.raises(UsageError, match="lies among the objects"):
        run(batten.from_parquet(f"{prefix}/both"), f"{prefix}/both")
