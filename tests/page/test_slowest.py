"""The slowest items: on the page, in `show`, after a resume, a retry and from older records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.inspect.show import show
from batten.model.disk.items.slowest import SLOWEST_MAX, Slowest, decode_slowest, encode_slowest
from batten.model.disk.records import (
    CommitRecord,
    Unreadable,
    decode_record,
    encode_record,
    seal_record,
)
from batten.model.disk.staged_names import find_staged

KEYS = [f"clip_{number}" for number in range(12)]


CLOCK = Path("clock")


def read_clock() -> float:
    return float(CLOCK.read_text())


def pass_time(seconds: float) -> None:
    CLOCK.write_text(str(read_clock() + seconds))


@pytest.fixture(autouse=True)
def _clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items take the seconds that they say. These lie in a file: a function that used a value that
    changes would be another function."""
    monkeypatch.chdir(tmp_path)
    CLOCK.write_text("1000")
    monkeypatch.setattr("batten.work.item_runner.perf_counter", read_clock)


def run(seconds: dict[str, float], failing: frozenset[str] = frozenset()) -> Any:
    def measure(key: str) -> dict[str, str]:
        pass_time(seconds.get(key, 0.0))
        if key in failing:
            raise ValueError(f"nothing in {key}")
        return {"clip": key}

    pipeline = batten.from_items(KEYS, key=str).map(measure).write_parquet("out")
    return pipeline.options(batch_size=4, stop_when=None)


def list_shown() -> list[tuple[str | None, float]]:
    return [(each.key, each.seconds) for each in show("out").slowest.items]


def list_on_page(page: Any) -> list[list[str]]:
    (section,) = [
        each
        for each in page.all("section")
        if each.attributes.get("aria-labelledby", "") == "slowest"
    ]
    return [[cell.text for cell in row.all("th", "td")] for row in section.all("tr")[1:]]


@pytest.mark.parametrize("is_retried", [False, True])
def test_the_slowest_of_all_batches(page_of: Any, is_retried: bool) -> None:
    seconds = {"clip_1": 2.5, "clip_6": 0.25, "clip_7": 31.0, "clip_11": 0.001, "clip_10": 0.002}
    failing = frozenset({"clip_7"}) if is_retried else frozenset()
    job = run(seconds, failing)
    job.run(executor="serial", progress=False)
    wanted = [("clip_7", 31.0), ("clip_1", 2.5), ("clip_6", 0.25), ("clip_10", 0.002)]
    assert list_shown() == wanted
    if is_retried:
        # Only one is done again; what is known of its neighbours stays.
        again = run({"clip_7": 4.0})
        again.run(executor="serial", progress=False, retry_quarantined=True)
        wanted[0] = ("clip_7", 4.0)
        assert list_shown() == wanted
    told = list_on_page(page_of("out"))
    assert told == [[key, f"{spent:,.3f}"] for key, spent in wanted]


def test_a_chunk_keeps_them_for_the_next_run(page_of: Any) -> None:
    """The first run is stopped in the middle of a batch."""

    def measure(key: str) -> dict[str, str]:
        pass_time({"clip_4": 3.0, "clip_5": 7.0, "clip_9": 5.0}.get(key, 0.0))
        if key == "clip_6" and not Path("again").exists():
            raise ValueError("not yet")
        return {"clip": key}

    job = batten.from_items(KEYS, key=str).map(measure).options(batch_size=4, on_error="raise")
    job = job.write_parquet("out")
    with pytest.raises(batten.BattenError):
        job.run(executor="serial", progress=False)
    staged = [find_staged(each.name) for each in Path("out.batten/staged").iterdir()]
    assert [each.batch for each in staged if each is not None] == [1, 1]
    Path("again").touch()
    report = job.run(executor="serial", progress=False)
    assert report.adopted_items == 2
    assert list_shown() == [("clip_5", 7.0), ("clip_9", 5.0), ("clip_4", 3.0)]


def test_async_items_are_timed_too(page_of: Any) -> None:
    import asyncio

    async def measure(key: str) -> dict[str, str]:
        if key in {"clip_3", "clip_9"}:
            # Whatever the machine does meanwhile, this is no less than a millisecond.
            await asyncio.sleep(0.05)
        return {"clip": key}

    batten.from_items(KEYS, key=str).map(measure).write_parquet("out").run(progress=False)
    shown = list_shown()
    assert {"clip_3", "clip_9"} <= {key for key, _ in shown}
    assert [spent for _, spent in shown] == sorted((spent for _, spent in shown), reverse=True)


def test_items_of_a_unit_have_no_times(page_of: Any) -> None:
    def measure(table: Any) -> Any:
        pass_time(9.0)
        return table

    rows = [{"name": key} for key in KEYS]
    job = batten.from_items(rows, key="name").map_batches(measure).write_parquet("out")
    job.run(executor="serial", progress=False)
    assert list_shown() == []
    assert "Items that a function gets together have no times" in page_of("out").text


def test_records_of_before_have_none(page_of: Any) -> None:
    run({"clip_1": 2.5}).run(executor="serial", progress=False)
    for path in Path("out.batten/commits").iterdir():
        told = json.loads(path.read_bytes())
        del told["checksum"], told["slowest"]
        path.write_bytes(seal_record(json.dumps(told).encode()))
    assert list_shown() == []
    assert batten.diagnose("out").state == "COMPLETE"
    assert "an earlier batten wrote down none" in page_of("out").text


@pytest.mark.parametrize(
    "text", ["1:2,", ",", "1", "1:-2", "x:1", "1:2,3", "12345678:1", "1:1234567890123", "1:2 "]
)
def test_a_hostile_text_is_damage(text: str, page_of: Any) -> None:
    run({"clip_1": 2.5}).run(executor="serial", progress=False)
    path = Path("out.batten/commits/000000.json")
    told = json.loads(path.read_bytes())
    del told["checksum"]
    data = seal_record(json.dumps(told | {"slowest": text}).encode())
    with pytest.raises(Unreadable):
        decode_record(CommitRecord, data)
    path.write_bytes(data)
    assert list_shown() == []
    assert "No item is known" in page_of("out").text


def test_an_item_that_the_batch_has_not_is_passed_over(page_of: Any) -> None:
    run({"clip_1": 2.5}).run(executor="serial", progress=False)
    path = Path("out.batten/commits/000000.json")
    record = decode_record(CommitRecord, path.read_bytes())
    path.write_bytes(encode_record(type(record)(**vars(record) | {"slowest": "9999999:7,1:2500"})))
    assert list_shown() == [("clip_1", 2.5)]


def test_the_slowest_are_kept_whatever_comes_in_between() -> None:
    slowest = Slowest()
    for item, seconds in enumerate([0.5, 0.002, 9.0, 3.0, 0.1, 0.004, 8.0, 0.003, 7.0]):
        if seconds > slowest.least:
            slowest.take(item, seconds)
    found = slowest.list_all()
    assert found == ((2, 9000), (6, 8000), (8, 7000), (3, 3000), (0, 500))
    assert len(found) == SLOWEST_MAX
    assert decode_slowest(encode_slowest(found)) == found
    assert decode_slowest("") == ()
