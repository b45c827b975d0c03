"""Jobs whose items harm the processes around them, and how workers begin."""

from __future__ import annotations

from typing import Any

import pytest

EXIT_QUARANTINED = 3
FATAL, ITEMS = 7, 12

KILLS_THE_NURSERY = f"""
import os, signal

def work(number):
    if number == {FATAL}:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return {{"number": number}}

pipeline = batten.from_range({ITEMS}).map(work).write_parquet("out/").options(batch_size=5)
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_item_that_kills_the_process_that_keeps_the_workers_is_put_aside(
    jobs: int, job: Any
) -> None:
    done = job.write(KILLS_THE_NURSERY).run("--jobs", str(jobs))
    assert done.code == EXIT_QUARANTINED, done.err
    error = "the worker was killed with the process that keeps the workers"
    assert job.quarantined() == {str(FATAL): (error, 2)}
    assert [row["number"] for row in job.rows()] == [n for n in range(ITEMS) if n != FATAL]


DIES_OF_COMPANY = """
DONE = []

def work(number):
    if number == 7 and DONE:
        import os
        os._exit(9)
    DONE.append(number)
    return {"number": number}

pipeline = batten.from_range(12).map(work).write_parquet("out/")
"""


def test_an_item_that_dies_of_what_others_left_is_tried_in_a_new_process(job: Any) -> None:
    done = job.write(DIES_OF_COMPANY).run("--jobs", "1")
    assert done.code == 0, done.err
    assert len(job.rows()) == 12
