"""A function raises what is no `Exception`: the item fails, and the event loop goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Folder

JOB = """
import asyncio

class Panic(BaseException):
    "As extensions in Rust raise it."

async def rest():
    await asyncio.sleep(0)
    return 1

async def stop(item):
    await asyncio.sleep(0)
    if item == 4:
        raise RAISED

async def ask(item):
    CALL
    return {"item": item}

def check(item):
    if item == 4:
        raise RAISED
    return item

pipeline = (
    batten.from_range(9).STEPS.options(batch_size=3).write_parquet("out")
)
"""
RAISED = [
    "Panic('no')",
    "KeyboardInterrupt('no')",
    "SystemExit('no')",
    "GeneratorExit('no')",
    "asyncio.CancelledError('no')",
]
CALLS = {
    "itself": "await stop(item)",
    "task": "await asyncio.create_task(stop(item))",
    "gathered": "await asyncio.gather(rest(), stop(item))",
    "plain": "await rest()",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.partition("(")[0])
def test_the_item_fails(raised: str, call: str, folder: Folder) -> None:
    steps = "map(ask, retries=1)"
    text = JOB.replace("STEPS", f"map(check).{steps}" if call == "plain" else steps)
    folder.write_job(text.replace("CALL", CALLS[call]).replace("RAISED", raised))
    ended = folder.run()
    assert ended.exit_code == 3, ended.stderr
    is_final = call == "plain" or raised.startswith("GeneratorExit")
    (failed,) = folder.quarantined()
    assert failed["key"] == "4"
    assert failed["attempts"] == (1 if is_final else 2)
    assert [row["item"] for row in folder.rows()] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_function_stops_the_loop(folder: Folder) -> None:
    text = JOB.replace("STEPS", "map(ask)").replace("RAISED", "KeyError(item)")
    folder.write_job(text.replace("CALL", "asyncio.get_running_loop().stop(); await rest()"))
    ended = folder.run()
    assert ended.exit_code == 0, ended.stderr
    assert len(folder.rows()) == 9


@pytest.mark.parametrize(
    "steps", ["map(ask, concurrency=1)", "map(ask, concurrency=4, timeout_seconds=60)"]
)
def test_a_function_cancels_its_own_task(steps: str, folder: Folder) -> None:
    text = JOB.replace("STEPS", steps).replace("RAISED", "KeyError(item)")
    call = "item == 4 and asyncio.current_task().cancel(); await rest()"
    folder.write_job(text.replace("CALL", call))
    ended = folder.run()
    assert ended.exit_code == 3, ended.stderr
    (failed,) = folder.quarantined()
    assert (failed["key"], failed["error"]) == ("4", "RuntimeError: the function cancelled itself")
    assert [row["item"] for row in folder.rows()] == [0, 1, 2, 3, 5, 6, 7, 8]
