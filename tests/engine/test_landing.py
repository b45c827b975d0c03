"""Landing a stream that can't be read twice, and working from what was landed."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fail, KillAfter, KillBefore
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.model.disk.landed import LandedFile, find_landed

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

PATIENCE_SECONDS = 60.0
ITEMS = [{"n": number, "text": "é}\n"} for number in range(25)]


def keep(item: dict[str, Any]) -> dict[str, Any]:
    return item


def landed(folder: Path) -> list[tuple[int, Any]]:
    """Offsets and items, in order; each file holds what its name says."""
    found = []
    for path in sorted(folder.iterdir()):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        file = find_landed(path.name)
        assert file is not None
        end = lines.pop()
        before = path.read_bytes().splitlines(keepends=True)[:-1]
        assert end == {"items": len(lines), "sha256": sha256(b"".join(before)).hexdigest()}
        assert (lines[0]["offset"], lines[-1]["offset"]) == (file.first, file.last)
        found += [(line["offset"], line["item"]) for line in lines]
    return found


def test_a_stream_becomes_files_by_offset(tmp_path: Path) -> None:
    told: list[int] = []
    into = tmp_path / "deep" / "landed"
    done = batten.land(iter(ITEMS), into=into, items_max=10, acknowledge=told.append)
    assert (done.items, done.files, done.next_offset) == (25, 3, 25)
    assert told == [10, 20, 25]
    assert landed(into) == list(enumerate(ITEMS))
    more = batten.land(lambda offset: [f"from {offset}"], into=into)
    assert (more.items, more.next_offset) == (1, 26)
    assert landed(into)[-1] == (25, "from 25")


@pytest.mark.parametrize("name", ["out", "out/landed", "out.batten/landed"])
def test_nothing_is_landed_in_a_dataset(name: str, tmp_path: Path) -> None:
    """What was acknowledged would be moved away with it when it is computed anew."""
    made = batten.from_range(3).map(lambda number: {"double": 2 * number})
    made.write_parquet(tmp_path / "out").run(executor="serial")
    told: list[int] = []
    with pytest.raises(batten.RefusedError, match=r"output of a job|within another dataset"):
        batten.land(iter(ITEMS), into=tmp_path / name, acknowledge=told.append)
    assert (told, os.listdir(tmp_path / "out")) == ([], ["part-000000.parquet"])


def test_a_stream_with_offsets_of_its_own_is_landed_once(tmp_path: Path) -> None:
    into = tmp_path / "landed"
    land = partial(batten.land, into=into, offset=lambda item: item["n"], items_max=4)
    land(item for item in ITEMS if item["n"] % 3 == 0)
    again = land(item for item in [*ITEMS, {"n": 40}] if item["n"] % 3 == 0 or item["n"] == 40)
    assert (again.items, again.next_offset) == (1, 41)
    assert [offset for offset, _ in landed(into)] == [*range(0, 25, 3), 40]


@pytest.mark.parametrize(
    ("items", "error", "told"),
    [
        ([{"n": 5}, {"n": 7}, {"n": 6}], batten.InconsistentError, "offset 6 after 7"),
        ([{"n": 5}, {"n": 7}, {"n": 8, "x": b""}], batten.UsageError, "not JSON serializable"),
    ],
)
def test_what_came_before_a_bad_item_is_landed(
    tmp_path: Path, items: list[Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        batten.land(items, into=tmp_path / "landed", offset=lambda item: item["n"])
    assert [offset for offset, _ in landed(tmp_path / "landed")] == [5, 7]


def test_what_a_stream_gave_before_it_broke_is_landed(tmp_path: Path) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ConnectionError("it broke")

    with pytest.raises(ConnectionError):
        batten.land(broken(), into=tmp_path / "landed")
    assert landed(tmp_path / "landed") == [(0, 1)]


def test_what_is_held_is_landed_in_time(tmp_path: Path) -> None:
    seen = []

    def slow() -> Iterator[int | None]:
        yield 1
        yield None
        seen.append(len(landed(tmp_path / "landed")))

    batten.land(slow(), into=tmp_path / "landed", seconds_max=0)
    assert seen == [1]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data.replace(b'"n": 3', b'"n": 4'), "its digest differs"),
        (lambda data: b"".join(data.splitlines(keepends=True)[1:]), "its digest differs"),
        (lambda data: data + data, "something follows its digest"),
        (lambda data: data[:-9], "no line of a landed item"),
    ],
)
def test_a_landed_file_that_changed_is_told_before_it_is_planned(
    damage: Callable[[bytes], bytes], told: str, tmp_path: Path
) -> None:
    batten.land(iter(ITEMS), into=tmp_path / "landed", items_max=10)
    changed = min((tmp_path / "landed").iterdir())
    changed.write_bytes(damage(changed.read_bytes()))
    pipeline = batten.from_landed(tmp_path / "landed").map(keep, version="1")
    with pytest.raises(batten.UsageError, match=told) as refused:
        pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert changed.name in str(refused.value)


def test_files_without_a_digest_are_read(tmp_path: Path) -> None:
    """As batten 0.1 wrote them."""
    batten.land(iter(ITEMS), into=tmp_path / "landed")
    (file,) = (tmp_path / "landed").iterdir()
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    pipeline = batten.from_landed(tmp_path / "landed").map(keep, version="1")
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert report.accounts.committed == len(ITEMS)


def test_only_one_lands_at_a_time(tmp_path: Path) -> None:
    def both() -> Iterator[int]:
        yield 1
        batten.land([2], into=tmp_path / "landed")

    with pytest.raises(batten.BusyError):
        batten.land(both(), into=tmp_path / "landed")


def test_a_signal_lands_what_was_taken(tmp_path: Path) -> None:
    (tmp_path / "land.py").write_text(
        "import batten\n"
        "def stream():\n"
        "    yield 1\n"
        "    print('begun', flush=True)\n"
        "    input()\n"
        "    yield 2\n"
        "    yield 3\n"
        "batten.land(stream(), into='landed')\n"
    )
    run = subprocess.Popen(
        [sys.executable, "land.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "begun\n"
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate("go on\n", timeout=PATIENCE_SECONDS)
    assert "Stopped by SIGTERM." in errors
    assert landed(tmp_path / "landed") == [(0, 1), (1, 2)]


def test_diagnose_names_a_landing(job: Folder) -> None:
    states = []

    def watched() -> Iterator[int]:
        yield 1
        states.append(batten.diagnose(job.path / "landed").state)
        yield 2
        states.append(batten.diagnose(job.path / "landed").state)

    batten.land(watched(), into=job.path / "landed", items_max=1)
    assert states[1] == "RUNNING"
    found = batten.diagnose(job.path / "landed")
    assert (found.state, found.exit_code) == ("COMPLETE", 0)
    assert found.reason == "2 files of landed items, from offset 0 to 1"
    (job.path / "landed.batten/staging/dataset.json.host-1-0a1b2c3d4e5f6071").touch()
    assert batten.diagnose(job.path / "landed").state == "COMPLETE_WITH_ORPHANS"
    assert job.batten("clean", "landed").code == 0
    assert batten.diagnose(job.path / "landed").state == "COMPLETE"
    (job.path / "landed" / LandedFile(1, 5).name).touch()
    assert batten.diagnose(job.path / "landed").state == "INCONSISTENT"


@pytest.mark.parametrize("command", ["show", "recover", "export"])
def test_a_landing_is_taken_for_no_dataset(job: Folder, command: str) -> None:
    batten.land(range(6), into=job.path / "landed")
    before = job.snapshot()
    told = job.batten(command, "landed", *(["rows.csv"] if command == "export" else []))
    assert told.code == 5
    assert told.told[0] == "landed holds landed items for jobs to read: there is no dataset."
    assert told.told[2] == "See what was landed: batten diagnose landed"
    assert job.snapshot() == before


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda data: data.replace(b"1", b"7", 1),
    lambda data: b"".join(data.splitlines(keepends=True)[:-2]),
    lambda data: b"".join(data.splitlines(keepends=True)[1:3]),
    lambda data: b"",
    lambda data: b"\x00" * len(data),
]


def make_topic(folder: Path) -> None:
    """As `from_kafka` lands two partitions, of which one has nothing yet."""
    batten.land(range(12), into=folder / "partition-00000", items_max=4)
    batten.land([], into=folder / "partition-00001")
    (folder / "reached.json").write_text('{"id": "", "offsets": {"0": 12, "1": 0}}')


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_reads_what_was_landed(damage: Callable[[bytes], bytes], job: Folder) -> None:
    make_topic(job.path / "landed")
    for path in ("landed", "landed/partition-00000"):
        assert job.batten("verify", path).code == 0
        assert job.batten("diagnose", path).code == 0
    changed = job.path / "landed/partition-00000" / LandedFile(4, 7).name
    changed.write_bytes(damage(changed.read_bytes()))
    before = job.snapshot()
    for path in ("landed", "landed/partition-00000"):
        told = job.batten("verify", path, "--json")
        assert told.code == 4
        (finding,) = told.json["findings"]
        assert (finding["code"], finding["path"]) == (
            "changed-landed",
            f"landed/partition-00000/{changed.name}",
        )
        assert "restore it from a copy" in told.json["next"]
        assert job.batten("verify", path, "--quick").code == 0
    assert job.snapshot() == before


def test_verify_tells_offsets_that_two_landed_files_hold(job: Folder) -> None:
    make_topic(job.path / "landed")
    folder = job.path / "landed/partition-00000"
    (folder / LandedFile(4, 7).name).rename(folder / LandedFile(3, 7).name)
    told = job.batten("verify", "landed", "--json")
    assert (told.code, told.json["state"]) == (4, "INCONSISTENT")
    assert len(told.json["findings"]) == 2


def test_a_landed_file_that_was_cut_off_is_not_planned(tmp_path: Path) -> None:
    """One of 0.1, which has no digest: its name tells it."""
    batten.land(iter(ITEMS), into=tmp_path / "landed")
    (file,) = (tmp_path / "landed").iterdir()
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))
    pipeline = batten.from_landed(tmp_path / "landed").map(keep, version="1")
    with pytest.raises(batten.UsageError, match="other offsets than its name says"):
        pipeline.write_parquet(tmp_path / "out").run(executor="serial")


def test_offsets_that_no_file_holds_are_told(job: Folder) -> None:
    batten.land(range(6), into=job.path / "landed", items_max=1)
    assert batten.diagnose(job.path / "landed").hints == ()
    for offset in (1, 3, 4):
        (job.path / "landed" / LandedFile(offset, offset).name).unlink()
    found = batten.diagnose(job.path / "landed")
    assert found.state == "COMPLETE"
    (hint,) = found.hints
    assert hint.startswith("no file holds the offsets 1 to 1, 3 to 4: ")


def test_what_was_landed_is_worked_on_and_extended(job: Folder) -> None:
    batten.land(ITEMS, into=job.path / "landed", items_max=10)
    job.write(
        """
        def measure(item):
            return {"n": item["n"] * 2}
        pipeline = batten.from_landed("landed/").map(measure).write_parquet("out")
        """
    )
    assert job.run().code == 0
    assert job.rows() == [{"key": str(item["n"]), "n": item["n"] * 2} for item in ITEMS]
    batten.land([{"n": 100}], into=job.path / "landed")
    done = job.run("--json")
    assert (done.code, done.json["executed_items"]) == (0, 1), done.err
    assert job.rows()[-1] == {"key": "25", "n": 200}
    (job.path / "landed" / max(os.listdir(job.path / "landed"))).write_text("torn")
    assert "is no line of a landed item" in job.run().told[0]


PROGRAM = """
import batten
acknowledged = open("acknowledged", "a")
def tell(offset):
    print(offset, file=acknowledged, flush=True)
batten.land(lambda offset: range(offset, 9), into="landed", items_max=4, acknowledge=tell)
"""

KILLS: list[MakeFault] = [KillBefore, KillAfter]
FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.EIO),
    partial(Fail, error=errno.EIO, is_done=True),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
]


def landing_disturbed(program: str, **more: Any) -> Experiment:
    """A program of Python that changes what is landed."""
    return Experiment(
        command=lambda folder: [sys.executable, program],
        folders=lambda folder: [folder / "landed", folder / "landed.batten"],
        is_forked=True,
        **more,
    )


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "land.py").write_text(PROGRAM)


def check_always(folder: Path, trail: Trail) -> None:
    """What was acknowledged is there, and all that is there is the beginning of the stream."""
    found = landed(folder / "landed") if (folder / "landed").exists() else []
    assert found == [(number, number) for number in range(len(found))]
    told = folder / "acknowledged"
    lines = told.read_text().split() if told.exists() else []
    assert len(found) >= max(map(int, lines), default=0)


def check_done(folder: Path, trail: Trail) -> None:
    assert landed(folder / "landed") == [(number, number) for number in range(9)]
    assert list((folder / "landed.batten" / "staging").iterdir()) == []


@needs_tracing
@pytest.mark.parametrize("faults", [KILLS, FAILURES], ids=["kills", "failures"])
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
def test_disturbed_at_any_call(
    sample: int | None, faults: list[MakeFault], tmp_path: Path, seeded: random.Random
) -> None:
    experiment = landing_disturbed(
        "land.py",
        prepare=prepare,
        check=check_done,
        check_always=check_always,
        is_seen_whole=True,
    )
    disturb(experiment, tmp_path, seeded=seeded, faults=faults, sample=sample)


@pytest.mark.parametrize("odd", ["huge", "link", "pipe"])
def test_an_odd_file_among_the_landed_is_told_and_fills_no_memory(tmp_path: Path, odd: str) -> None:
    into = tmp_path / "landed"
    batten.land(iter(ITEMS), into=into)
    name = LandedFile(25, 30).name
    if odd == "huge":
        (into / name).touch()
        os.truncate(into / name, 1 << 40)
    elif odd == "link":
        (into / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(into / name)
    job = batten.from_landed(into).map(dict).write_parquet(tmp_path / "out")
    with pytest.raises(batten.BattenError, match="landed"):
        job.run(executor="serial")
