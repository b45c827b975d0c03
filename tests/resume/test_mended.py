"""A function that was mended: one short way to redo what failed; and what accepting a change costs,
in items."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

JOB = """
    FAILS = 2
    FACTOR = 1

    def work(number):
        if number == FAILS:
            raise ValueError("broken")
        return {"value": number * FACTOR}

    pipeline = batten.from_range(COUNT).map(work).options(batch_size=2).write_parquet("out")
"""


def _write(job: Any, count: int = 4, **changes: str) -> None:
    text = textwrap.dedent(JOB).replace("COUNT", str(count))
    for old, new in changes.items():
        text = text.replace(f"{old} = 2" if old == "FAILS" else f"{old} = 1", f"{old} = {new}")
    job.write(text)


def _values(job: Any) -> list[int]:
    import pyarrow.parquet as pq

    parts = sorted((job.path / "out").glob("*.parquet"))
    return [value for part in parts for value in pq.read_table(part).column("value").to_pylist()]


def test_a_mended_function_redoes_what_failed_in_one_way(job: Any) -> None:
    _write(job)
    assert job.run().code == 3
    _write(job, FAILS="-1", FACTOR="10")
    refused = job.run()
    assert refused.code == 5
    assert (
        "try 1 quarantined item again with the current code (--retry-quarantined)"
        in refused.told[2]
    )
    again = job.run("--retry-quarantined")
    assert again.code == 0, again.err
    assert "tried again with the current code, and all other rows stay" in again.err
    assert _values(job) == [0, 1, 20, 3]
    assert job.run().code == 0
    assert job.batten("verify", "out").code == 0


def test_what_fails_again_by_mended_code_leaves_a_sound_dataset(job: Any) -> None:
    _write(job)
    job.run()
    part = next((job.path / "out").glob("*1.parquet")).read_bytes()
    _write(job, FACTOR="10")
    for _ in range(2):
        assert job.run("--retry-quarantined").code == 3
        assert next((job.path / "out").glob("*1.parquet")).read_bytes() == part
        verified = job.batten("verify", "out")
        assert verified.code == 0, verified.out


def test_nothing_to_do_says_how_to_try_what_failed_again(job: Any) -> None:
    _write(job)
    job.run()
    for words in ((), ("--accept-change",)):
        if words:
            _write(job, FACTOR="10")
        ended = job.run(*words)
        assert ended.code == 3
        assert "to try 1 quarantined item again" in ended.err
        assert "--retry-quarantined" in ended.err


def test_a_change_of_what_is_no_code_needs_consent_as_ever(job: Any) -> None:
    _write(job)
    job.run()
    path = job.path / "job.py"
    path.write_text(path.read_text().replace("batch_size=2", "batch_size=4"))
    refused = job.run("--retry-quarantined")
    assert refused.code == 5
    assert "quarantined" not in refused.told[2]


def test_where_more_is_left_than_what_failed_both_are_asked_for(job: Any) -> None:
    _write(job, count=6)
    job.run("--limit", "4")
    _write(job, count=6, FAILS="-1")
    refused = job.run("--retry-quarantined")
    assert refused.code == 5
    assert "(--accept-change --retry-quarantined)" in refused.told[2]
    assert job.run("--accept-change", "--retry-quarantined").code == 0
    assert _values(job) == [0, 1, 2, 3, 4, 5]


def test_the_refusal_says_what_each_way_costs(
    kill: Callable[..., None], slow: str, job: Any
) -> None:
    """Three items are published, one is finished and staged, two are left."""
    job.write(slow)
    kill(job.path, "*/staged/000001-000001-*")
    job.write(slow.replace("FACTOR = 1", "FACTOR = 10"))
    refused = job.run()
    assert refused.code == 5
    assert (
        "compute the other 3 items with the current code, 1 of them again, which are finished and "
        "not published (--accept-change)" in refused.told[2]
    )
    assert "compute all 6 items anew" in refused.told[2]
    accepted = job.run("--accept-change")
    assert accepted.code == 0
    assert "1 finished item not published yet" in accepted.err
    assert _values(job) == [0, 1, 2, 30, 40, 50]


def test_before_anything_is_published_the_costs_are_told_too(
    kill: Callable[..., None], slow: str, job: Any
) -> None:
    job.write(slow)
    kill(job.path, "*/staged/000000-000002-*")
    job.write(slow.replace("FACTOR = 1", "FACTOR = 10"))
    refused = job.run()
    assert "2 finished items are staged" in refused.told[1]
    assert "compute all 6 items with the current code" in refused.told[2]


def test_a_mend_that_adds_a_column_is_told_the_way_on_and_its_cost(job: Any) -> None:
    _write(job)
    job.run()
    text = textwrap.dedent(JOB).replace("COUNT", "4").replace("FAILS = 2", "FAILS = -1")
    job.write(text.replace('"value": number', '"more": 1, "value": number'))
    ended = job.run("--retry-quarantined")
    assert ended.code == 3
    assert "compute all 4 items anew: batten run job.py --fresh" in ended.err
    assert _values(job) == [0, 1, 3]
