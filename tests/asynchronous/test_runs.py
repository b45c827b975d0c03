"""Async functions end to end: calls over real HTTP, in any order, with failures of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Endpoint, Folder, Reply

ALL_STEPS = """
def is_odd(item):
    return item % 2

async def is_wanted(item):
    return item % 5 != 0

class Look(Ask):
    async def __call__(self, item):
        found = (await super().__call__(item))["answer"]
        if item % 13 == 0:
            raise ValueError("this one fails for good")
        columns = {"item": item, "a": found} if item % 3 else {"b": found * 0.5, "item": item}
        for line in range(item % 4):
            yield {**columns, "line": line}

def double(row):
    return {**row, "double": row["item"] * 2}

pipeline = (
    batten.from_range(ITEMS).filter(is_odd).filter(is_wanted, concurrency=3)
    .flat_map(Look, concurrency=CONCURRENCY).map(double).write_parquet("out")
    .options(batch_size=30)
)
"""
"""Plain and async steps, a class, an async generator; columns that depend on the item."""


def in_rounds(endpoint: Endpoint, size: int, items: int) -> None:
    """Calls are answered when `size` are there, the last first; those left over at the end, too."""
    waiting: list[int] = []

    async def behave(item: int, times: int) -> Reply:
        waiting.append(item)
        await endpoint.until(
            lambda: (
                item not in waiting
                or (
                    item == waiting[-1]
                    and (len(waiting) >= size or sum(endpoint.calls.values()) == items)
                )
            )
        )
        if len(waiting) >= size or sum(endpoint.calls.values()) == items:
            waiting.remove(item)
        return endpoint.answer(item)

    endpoint.behave = behave


def test_the_same_bytes_in_whatever_order_calls_end(
    endpoint: Endpoint, make_folder: Callable[[str], Folder]
) -> None:
    items = 100
    called = [item for item in range(items) if item % 2 and item % 5]
    serial, reversed_ = make_folder("serial"), make_folder("reversed")
    for folder, concurrency in ((serial, 1), (reversed_, 7)):
        folder.write_job(
            ALL_STEPS.replace("ITEMS", str(items)).replace("CONCURRENCY", str(concurrency))
        )
    assert serial.run().exit_code == 3
    assert endpoint.in_flight_max == 1
    endpoint.calls.clear()
    in_rounds(endpoint, 3, len(called))
    ended = reversed_.run()
    assert ended.exit_code == 3, ended.stderr
    assert reversed_.parts == serial.parts
    assert len(serial.parts) == 4
    for folder in (serial, reversed_):
        assert [row["key"] for row in folder.quarantined()] == ["13", "39", "91"]
        assert {row["error"] for row in folder.quarantined()} == {
            "ValueError: this one fails for good"
        }
    rows = serial.rows()
    expected = [item for item in called if item % 13 for _ in range(item % 4)]
    assert [row["key"] for row in rows] == expected
    assert all(row["double"] == 2 * row["item"] == 2 * row["key"] for row in rows)


def test_a_slow_call_holds_nothing_up(endpoint: Endpoint, folder: Folder) -> None:
    """It is answered when all others have been, over all batches, with few places."""
    items = 60

    async def behave(item: int, times: int) -> Reply:
        if item == 0:
            await endpoint.until(lambda: len(endpoint.answered) >= items - 1)
        return endpoint.answer(item)

    endpoint.behave = behave
    folder.write_job(f"""
        pipeline = (
            batten.from_range({items}).map(Ask, concurrency=4).write_parquet("out")
            .options(batch_size=7)
        )
    """)
    ended = folder.run()
    assert ended.exit_code == 0, ended.stderr
    assert [row["answer"] for row in folder.rows()] == [item * item for item in range(items)]
    assert endpoint.in_flight_max <= 4


def test_as_many_calls_are_in_flight_as_was_said(endpoint: Endpoint, folder: Folder) -> None:
    """Over batches that are smaller than that."""

    async def behave(item: int, times: int) -> Reply:
        await endpoint.until(lambda: endpoint.in_flight_max >= 40)
        return endpoint.answer(item)

    endpoint.behave = behave
    folder.write_job("""
        pipeline = (
            batten.from_range(100).map(Ask, concurrency=40).write_parquet("out")
            .options(batch_size=3)
        )
    """)
    ended = folder.run()
    assert ended.exit_code == 0, ended.stderr
    assert len(folder.rows()) == 100
    assert endpoint.in_flight_max == 40


def test_a_host_that_behaves_badly(endpoint: Endpoint, folder: Folder) -> None:
    async def behave(item: int, times: int) -> Reply:
        if item % 10 == 9:
            return endpoint.reply(body="{oh no")
        if times > 1 or item % 2:
            return endpoint.answer(item)
        badly = [
            endpoint.reply(status=429, headers={"Retry-After": "0"}),
            endpoint.reply(status=500),
            endpoint.reply(status=503, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}),
            endpoint.reply(status=None),
            endpoint.reply(body='{"answer": '),
        ]
        return badly[item // 2 % 5]

    endpoint.behave = behave
    folder.write_job("""
        pipeline = (
            batten.from_range(50).map(Ask, concurrency=20, retries=2).write_parquet("out")
            .options(batch_size=16)
        )
    """)
    ended = folder.run()
    assert ended.exit_code == 3, ended.stderr
    good = [item for item in range(50) if item % 10 != 9]
    assert [(row["key"], row["answer"]) for row in folder.rows()] == [(i, i * i) for i in good]
    quarantined = folder.quarantined()
    assert [row["key"] for row in quarantined] == ["9", "19", "29", "39", "49"]
    for row in quarantined:
        assert row["attempts"] == 3
        assert row["error"].startswith("json.decoder.JSONDecodeError")
        assert row["traceback"].startswith("Traceback")
        assert "async_calls.py" not in row["traceback"]
    assert set(endpoint.calls.values()) == {1, 2, 3}


def test_a_call_that_takes_too_long(endpoint: Endpoint, folder: Folder) -> None:
    async def behave(item: int, times: int) -> Reply:
        if item == 3 or (item == 5 and times == 1):
            await endpoint.until(lambda: endpoint.is_released)
        return endpoint.answer(item)

    endpoint.behave = behave
    folder.write_job("""
        pipeline = (
            batten.from_range(8).map(Ask, concurrency=4, retries=1, timeout_seconds=1)
            .write_parquet("out")
        )
    """)
    ended = folder.run()
    assert ended.exit_code == 3, ended.stderr
    (row,) = folder.quarantined()
    assert (row["key"], row["attempts"]) == ("3", 2)
    assert row["error"] == "TimeoutError: the item took longer than 1 seconds"
    assert (endpoint.calls[3], endpoint.calls[5]) == (2, 2)


@pytest.mark.parametrize("option", ['on_error="raise"', "quarantine_max=2"])
def test_failures_stop_the_run_and_what_is_finished_is_kept(
    endpoint: Endpoint, folder: Folder, option: str
) -> None:
    """Failures are noticed while another call of the same batch goes on."""

    async def behave(item: int, times: int) -> Reply:
        if item == 0 and not endpoint.is_released:
            await endpoint.until(lambda: endpoint.is_released)
        if 20 <= item < 25 and not endpoint.is_released:
            await endpoint.until(lambda: set(range(1, 20)) <= set(endpoint.answered))
            return endpoint.reply(status=400)
        return endpoint.answer(item)

    endpoint.behave = behave
    folder.write_job(f"""
        pipeline = (
            batten.from_range(100000).map(Ask, concurrency=10).write_parquet("out")
            .options(batch_size=50, {option})
        )
    """)
    stopped = folder.run()
    assert stopped.exit_code == 1, stopped.stderr
    assert "400" in stopped.stderr
    called = len(endpoint.calls)
    assert called < 100000
    answered = set(endpoint.answered) - set(range(20, 25))

    endpoint.release()
    endpoint.calls.clear()
    folder.write_job(f"""
        pipeline = (
            batten.from_range(100000).map(Ask, concurrency=10).write_parquet("out")
            .options(batch_size=50, {option})
        )
    """)
    resumed = folder.start()
    endpoint.wait_until(lambda: len(endpoint.calls) > 50)
    resumed.send_signal(15)
    told = folder.finish(resumed).told
    assert told["adopted_items"] >= 19
    assert set(range(1, 20)) & set(endpoint.calls) == set()
    assert answered


def test_a_last_row_of_another_type_does_not_decide(endpoint: Endpoint, folder: Folder) -> None:
    """The schema is pinned by the first rows of the plan, though they come last."""

    async def behave(item: int, times: int) -> Reply:
        if item < 5:
            await endpoint.until(lambda: len(endpoint.answered) >= 15)
            return endpoint.answer(item)
        return endpoint.reply(body='{"answer": "text", "more": [1, 2]}')

    endpoint.behave = behave
    folder.write_job("""
        pipeline = batten.from_range(20).map(Ask).write_parquet("out").options(batch_size=10)
    """)
    ended = folder.run()
    assert ended.exit_code == 3, ended.stderr
    assert [row["answer"] for row in folder.rows()] == [0, 1, 4, 9, 16]
    assert len(folder.quarantined()) == 15


def test_what_a_class_holds_is_closed_at_the_end(
    endpoint: Endpoint, make_folder: Callable[[str], Folder]
) -> None:
    """Where that fails it is told, and the run is as good as without it."""
    for name, problem in (("closes", ""), ("fails", "the host is gone")):
        folder = make_folder(name)
        folder.write_job(f"""
            from pathlib import Path

            class Held(Ask):
                async def aclose(self):
                    await self.client.aclose()
                    Path("closed").write_text(str(self.client.is_closed))
                    if {problem!r}:
                        raise OSError({problem!r})

            pipeline = batten.from_range(5).map(Held, concurrency=2).write_parquet("out")
        """)
        ended = folder.run()
        assert ended.exit_code == 0, ended.stderr
        assert (folder.path / "closed").read_text() == "True"
        assert [row["answer"] for row in folder.rows()] == [0, 1, 4, 9, 16]
        assert problem in ended.stderr
        assert ("Error" in ended.stderr) == bool(problem)
