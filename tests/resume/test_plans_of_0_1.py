"""Plans of batten 0.1 hold pickled items, which are code: they are used only where nobody else can
have written them."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from batten.model.disk.records import (
    Completion,
    Config,
    NewerFormat,
    Segment,
    Unreadable,
    decode_record,
    encode_record,
    seal_record,
)

# As batten 0.1 wrote it: the items 1, 2, 3 of an iterable, without keys.
GOLDEN = base64.b64decode(
    "QVJST1cxAAD/////cAAAABAAAAAAAAoADAAGAAUACAAKAAAAAAEEAAwAAAAIAAgAAAAEAAgAAAAEAAAAAQAAABQAAA"
    "AQABQACAAGAAcADAAAABAAEAAAAAAAARMQAAAAHAAAAAQAAAAAAAAABwAAAHBheWxvYWQABAAEAAQAAAD/////sAAA"
    "ABQAAAAAAAAADAAYAAYABQAIAAwADAAAAAADBAAcAAAASAAAAAAAAAAAAAAADAAeABAABAAIAAwADAAAAGAAAAAkAA"
    "AAGAAAAAMAAAAAAAAAAAAAAAAABgAIAAcABgAAAAAAAAEDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJgAAAAAA"
    "AAAoAAAAAAAAACAAAAAAAAAAAAAAAAEAAAADAAAAAAAAAAAAAAAAAAAAIAAAAAAAAAAotS/9ICCtAABwAAAFAAoADw"
    "AAAAAAAAADVAIAAwEAAA8AAAAAAAAAKLUv/SAPeQAAgAVLAS6ABUsCLoAFSwMu/////wAAAAAQAAAADAAUAAYACAAM"
    "ABAADAAAAAAABAA0AAAAJAAAAAQAAAABAAAAgAAAAAAAAAC4AAAAAAAAAEgAAAAAAAAAAAAAAAgACAAAAAQACAAAAA"
    "QAAAABAAAAFAAAABAAFAAIAAYABwAMAAAAEAAQAAAAAAABExAAAAAcAAAABAAAAAAAAAAHAAAAcGF5bG9hZAAEAAQA"
    "BAAAAJgAAABBUlJPVzE="
)

JOB = """
    def numbers():
        yield from [1, 2, 3]

    def double(n: int) -> dict:
        return {"double": 2 * n}

    source = batten.from_items(numbers)
    pipeline = source.map(double).write_parquet("out")
"""


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (os.mkdir, (str(self.path),))


class Old:
    """A dataset of 0.1 of which nothing is computed yet."""

    def __init__(self, job: Folder) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.job = job
        job.write(JOB)
        assert job.run().code == 0
        self.control = job.path / "out.batten"
        shutil.rmtree(job.path / "out")
        (job.path / "out").mkdir()
        for name in ("commits", "schema.json", "COMPLETE", "runs"):
            path = self.control / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.control / "commits").mkdir()
        self.keys = self.control / "plan" / "000000.arrow"
        self.put(GOLDEN)

    def put(self, data: bytes) -> None:
        record = self.control / "plan" / "000000.json"
        segment = decode_record(Segment, record.read_bytes())
        digest = hashlib.sha256(data).hexdigest()
        changed = replace(segment, keys_size=len(data), keys_digest=digest, format_version=1)
        record.write_bytes(encode_record(changed))
        self.keys.write_bytes(data)

    def put_canary(self) -> Path:
        path = self.job.path / "code-was-run"
        schema = pa.schema([("payload", pa.large_binary())])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            pickles = [pickle.dumps(Canary(path))] * 3
            array = pa.array(pickles, pa.large_binary())
            writer.write_batch(pa.record_batch([array], schema=schema))
        self.put(sink.getvalue().to_pybytes())
        return path


@pytest.fixture
def old(job: Folder) -> Old:  # type: ignore[name-defined]  # noqa: F821
    return Old(job)


def test_an_own_plan_of_0_1_is_still_read(old: Old) -> None:
    ended = old.job.run()
    assert ended.code == 0, ended.err
    assert [row["double"] for row in old.job.rows()] == [2, 4, 6]


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 65534, 65534)


FOREIGN: dict[str, Callable[[Old], None]] = {
    "the file may be written by all": lambda old: old.keys.chmod(0o666),
    "the file may be written by a group": lambda old: old.keys.chmod(0o664),
    "its folder may be written by all": lambda old: old.keys.parent.chmod(0o777),
    "the control folder may be written by all": lambda old: old.control.chmod(0o777),
    "the file is another's": lambda old: give_away(old.keys),
    "its folder is another's": lambda old: give_away(old.keys.parent),
    "the control folder is another's": lambda old: give_away(old.control),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_others_may_have_written_is_not_run(old: Old, case: str) -> None:
    canary = old.put_canary()
    FOREIGN[case](old)
    for command in ("diagnose", "verify", "show", "clean", "recover"):
        assert old.job.batten(command, "out").code not in (1, 7)
    ended = old.job.run()
    assert ended.code == 5, ended.err
    assert "others may write" in ended.err or "belongs to another user" in ended.err
    assert not canary.exists()
    assert old.job.rows() == []


def test_the_canary_sings_where_it_may(old: Old) -> None:
    canary = old.put_canary()
    for command in ("diagnose", "verify", "show", "clean", "recover"):
        old.job.batten(command, "out")
        assert not canary.exists()
    old.job.run()
    assert canary.exists()


def test_a_list_is_read_in_the_place_of_what_is_not_trusted(old: Old) -> None:
    """As the refusal says."""
    canary = old.put_canary()
    old.keys.chmod(0o666)
    old.job.write(JOB.replace("from_items(numbers)", "from_items(list(numbers()))"))
    ended = old.job.run()
    assert ended.code == 0, ended.err
    assert [row["double"] for row in old.job.rows()] == [2, 4, 6]
    assert not canary.exists()


def test_a_plan_of_0_1_stays_as_it_is(old: Old) -> None:
    record = old.control / "plan" / "000000.json"
    before = record.read_bytes(), old.keys.read_bytes()
    assert old.job.run().code == 0
    assert (record.read_bytes(), old.keys.read_bytes()) == before
    assert old.job.batten("verify", "out").code == 0


SOURCES = {
    "items of an iterable": ("from_items(iter([1, 2, 3]))", 2),
    "items of an iterable, with keys": ("from_items(iter([1, 2, 3]), key=str)", 2),
    "items of a list": ("from_items([1, 2, 3])", 1),
    "items of a list, with keys": ("from_items([1, 2, 3], key=str)", 1),
    "numbers": ("from_range(3)", 1),
}


@pytest.mark.parametrize("case", SOURCES)
def test_0_1_is_told_of_a_plan_that_it_cannot_read(job: Folder, case: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Which it refuses as one of a newer batten."""
    source, version = SOURCES[case]
    job.write(f"""
        pipeline = batten.{source}.map(lambda n: {{"n": n}}, version="1").write_parquet("out")
    """)
    assert job.run().code == 0
    data = (job.path / "out.batten" / "plan" / "000000.json").read_bytes()
    assert decode_record(Segment, data).format_version == version
    assert job.run("--json").json["status"] == "nothing-to-do"


def test_each_kind_of_record_has_its_newest_version() -> None:
    for data in (b'{"format_version": %d}', seal_record(b'{"format_version": %d}')):
        for kind, newest in ((Segment, 2), (Completion, 2), (Config, 2)):
            with pytest.raises(NewerFormat, match=f"this batten reads up to {newest}"):
                decode_record(kind, data.replace(b"%d", b"%d" % (newest + 1)))
            with pytest.raises(Unreadable, match=r"checksum|missing") as told:
                decode_record(kind, data.replace(b"%d", b"%d" % newest))
            assert told.type is Unreadable
