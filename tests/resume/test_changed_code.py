"""Code that changed between a crash and the next run: what each code made is never mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.tracing import needs_tracing

import batten
from batten.inspect.verifying.verify import verify

pytestmark = needs_tracing

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

Kill = Callable[..., None]

NO_PART = "*/staging/000000-000002-*"
"""Two items of the first batch are staged."""

ONE_PART = "*/staging/000001-000002-*"
"""The first batch is published, and two items of the second are staged."""


def stop_and_change(job: Folder, kill: Kill, slow: str, path: str) -> None:
    """Killed with two items staged; then the job is another."""
    job.write(slow)
    kill(job.path, path)
    assert len(list((job.path / "out.batten/staged").iterdir())) == 2
    job.write(slow.replace("FACTOR = 1", "FACTOR = 10"))


def values(job: Folder) -> list[int]:
    return [row["value"] for row in job.rows()]


def test_nothing_published_and_undone(job: Folder, kill: Kill, slow: str) -> None:
    stop_and_change(job, kill, slow, NO_PART)
    before = job.snapshot()
    refused = job.run()
    assert refused.code == 5
    assert refused.told[0].endswith("constant job.FACTOR: 1 → 10.")
    assert "Nothing is published; 2 finished items are staged" in refused.told[1]
    for way in ("Undo the change", "--accept-change", "--fresh"):
        assert way in refused.told[2]
    assert job.snapshot() == before
    job.write(slow)
    resumed = job.run("--json", "--quiet").json
    assert (resumed["executed_items"], resumed["adopted_items"]) == (4, 2)
    assert values(job) == [0, 1, 2, 3, 4, 5]


def test_nothing_published_and_accepted(job: Folder, kill: Kill, slow: str) -> None:
    stop_and_change(job, kill, slow, NO_PART)
    ended = job.run("--accept-change", "--json", "--quiet")
    assert (ended.code, ended.json["executed_items"], ended.json["adopted_items"]) == (0, 6, 0)
    assert values(job) == [0, 10, 20, 30, 40, 50]
    assert verify(job.path / "out").is_sound


def test_accepted_where_a_part_is_published(job: Folder, kill: Kill, slow: str) -> None:
    """Also when that run is killed, and the change after it is accepted as well."""
    stop_and_change(job, kill, slow, ONE_PART)
    first = job.parts()
    assert "1 published part is as before" in job.run().told[1]
    kill(job.path, ONE_PART, "--accept-change")
    job.write(slow.replace("FACTOR = 1", "FACTOR = 100"))
    refused = job.run()
    assert (refused.code, "10 → 100" in refused.told[0]) == (5, True)
    ended = job.run("--accept-change", "--json", "--quiet")
    assert (ended.code, ended.json["executed_items"], ended.json["adopted_items"]) == (0, 3, 0)
    assert values(job) == [0, 1, 2, 300, 400, 500]
    assert job.parts().items() >= first.items()
    made_by = [
        json.loads(path.read_text())["fingerprint"]
        for path in sorted((job.path / "out.batten/commits").iterdir())
    ]
    config = json.loads((job.path / "out.batten/dataset.json").read_text())
    assert config["earlier_fingerprints"][0] == made_by[0]
    assert (config["fingerprint"]["digest"], len(config["earlier_fingerprints"])) == (made_by[1], 2)


def test_fresh_of_one_code_and_then_of_another(job: Folder, kill: Kill, slow: str) -> None:
    """What a fresh run had begun is taken up by the same code alone."""
    job.write(slow.replace("0.26", "0"))
    assert job.run().code == 0
    old = job.parts()
    job.write(slow.replace("FACTOR = 1", "FACTOR = 10"))
    kill(job.path, "*/fresh/out.batten/" + ONE_PART.removeprefix("*/"), "--fresh")
    assert job.parts() == old
    job.write(slow.replace("FACTOR = 1", "FACTOR = 100"))
    ended = job.run("--fresh", "--json", "--quiet")
    assert (ended.json["executed_items"], ended.json["adopted_items"]) == (6, 0)
    assert values(job) == [0, 100, 200, 300, 400, 500]


def test_staged_by_nobody_knows_whom(job: Folder, kill: Kill, slow: str) -> None:
    """Without `dataset.json` nothing says what staged items are of."""
    stop_and_change(job, kill, slow, NO_PART)
    (job.path / "out.batten/dataset.json").unlink()
    before = job.snapshot()
    assert job.run("--accept-change").code == 4
    assert batten.diagnose(job.path / "out").state == "CORRUPT"
    assert job.snapshot() == before
    assert job.run("--fresh", "--quiet").code == 0
    assert values(job) == [0, 10, 20, 30, 40, 50]


def test_a_plan_of_nobody_knows_what(job: Folder) -> None:
    """Nothing was made by it, so it is made anew."""
    job.write("pipeline = batten.from_range(5).map(str).write_parquet('out')")
    plan = job.path / "out.batten/plan"
    assert job.run().code == 1  # rows must be dicts
    assert not any((job.path / "out").iterdir())
    assert len(list(plan.iterdir())) == 1
    (job.path / "out.batten/dataset.json").unlink()
    job.write("""
        pipeline = (
            batten.from_items([{"id": "a"}, {"id": "b"}], key="id").map(lambda item: {"is": True})
            .write_parquet("out")
        )
    """)
    assert job.run().code == 0
    assert [row["key"] for row in job.rows()] == ["a", "b"]
    assert verify(job.path / "out").is_sound
