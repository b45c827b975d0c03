"""A second dataset of all rows: the first, the second or both lie in a real object store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, kill_at, number_changes
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import BusyError, UsageError
from batten.inspect.verifying.verify import verify
from batten.storage.objects.store import BucketStore
from batten.storage.twin.fates import Fate

ITEMS = 30


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def keep(row: dict[str, int]) -> dict[str, int]:
    return {"kept": row["square"]}


def only_even(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(pc.bit_wise_and(rows["square"], 1), 0)).select(["square"])


def make(output: str, into: Path | str, function: Any = only_even, items: int = ITEMS) -> Any:
    made = batten.from_range(items).map(square).options(batch_size=10).write_parquet(output)
    return made.finalize(function, into=into)


def run(made: Any, **options: Any) -> Any:
    return made.run(executor="serial", progress=False, **options)


def read(into: Path | str) -> list[int]:
    return [row["square"] for row in batten.open(into).to_arrow().to_pylist()]


def even(items: int) -> list[int]:
    return [number * number for number in range(0, items, 2)]


@pytest.mark.parametrize("form", ["arrow", "polars", "duckdb"])
def test_it_is_made_of_all_rows(prefix: str, tmp_path: Path, form: str) -> None:
    polars: Any = pytest.importorskip("polars")
    duckdb: Any = pytest.importorskip("duckdb")

    def by_polars(rows: polars.LazyFrame) -> Any:
        return rows.filter(polars.col("square") % 2 == 0).select("square").sort("square")

    def by_duckdb(rows: duckdb.DuckDBPyRelation) -> Any:
        return rows.filter("square % 2 = 0").project("square").order("square")

    by_polars.__annotations__["rows"] = polars.LazyFrame
    by_duckdb.__annotations__["rows"] = duckdb.DuckDBPyRelation
    function = {"arrow": only_even, "polars": by_polars, "duckdb": by_duckdb}[form]
    into = tmp_path / "even"
    report = run(make(f"{prefix}/squares", into, function))
    assert [each.status.value for each in report.finalized] == ["complete"]
    assert read(into) == even(ITEMS)
    assert verify(into).is_sound


def test_it_follows_the_first(prefix: str, tmp_path: Path) -> None:
    output, into = f"{prefix}/squares", tmp_path / "even"
    run(make(output, into))
    config = json.loads((tmp_path / "even.batten" / "dataset.json").read_text())
    assert output in json.dumps(config)
    assert batten.diagnose(into).state.value == "COMPLETE"
    assert [each.status.value for each in run(make(output, into)).finalized] == ["nothing-to-do"]

    first = batten.from_range(ITEMS + 5).map(square).options(batch_size=10).write_parquet(output)
    run(first)
    found = batten.diagnose(into)
    assert (found.state.value, found.exit_code) == ("STALE", 10)
    assert output in found.reason
    run(make(output, into, items=ITEMS + 5))
    assert read(into) == even(ITEMS + 5)
    assert batten.diagnose(into).state.value == "COMPLETE"

    run(make(output, into, items=ITEMS + 5), fresh=True)
    assert read(into) == even(ITEMS + 5)
    assert batten.diagnose(into).state.value == "COMPLETE"


def test_what_changes_while_it_is_read_is_not_put_in_place(prefix: str, tmp_path: Path) -> None:
    """No lock of a kernel keeps another run from the first dataset meanwhile."""
    output, into = f"{prefix}/squares", tmp_path / "even"

    def overtaken(rows: pa.Table) -> pa.Table:
        store = BucketStore(prefix, is_probed=True)
        name = "squares/part-000001.parquet"
        found = store.find(name)
        assert found is not None
        store.put_if(name, store.read(name) + b"\0", found.version)
        return only_even(rows)

    with pytest.raises(BusyError, match="took over"):
        run(make(output, into, overtaken))
    assert not into.exists()


@pytest.mark.parametrize("is_first_there", [False, True])
def test_both_or_only_the_second_lie_in_a_store(
    prefix: str, tmp_path: Path, is_first_there: bool
) -> None:
    output = f"{prefix}/squares" if is_first_there else str(tmp_path / "squares")
    into = f"{prefix}/even"
    assert [each.status.value for each in run(make(output, into)).finalized] == ["complete"]
    assert read(into) == even(ITEMS)
    assert verify(into).is_sound
    assert batten.diagnose(into).state.value == "COMPLETE"
    assert [each.status.value for each in run(make(output, into)).finalized] == ["nothing-to-do"]

    run(batten.from_range(ITEMS + 5).map(square).options(batch_size=10).write_parquet(output))
    found = batten.diagnose(into)
    assert (found.state.value, found.exit_code) == ("STALE", 10)
    assert output in found.reason
    made = make(output, into, items=ITEMS + 5)
    planned = run(made, dry_run=True).finalized
    assert [(each.path, each.status.value) for each in planned] == [(into, "planned")]
    run(made)
    assert read(into) == even(ITEMS + 5)
    assert batten.diagnose(into).state.value == "COMPLETE"

    run(made, fresh=True)
    assert read(into) == even(ITEMS + 5)
    again = batten.from_dataset(into, key="square").map(keep).write_parquet(tmp_path / "third")
    assert run(again).rows == len(even(ITEMS + 5))


def test_places_that_are_in_one_another_are_refused(prefix: str, tmp_path: Path) -> None:
    for into in ("squares", "squares/even", "squares.batten"):
        with pytest.raises(UsageError, match="in one another"):
            make(f"{prefix}/squares", f"{prefix}/{into}")
    twice = make(str(tmp_path / "squares"), f"{prefix}/even")
    with pytest.raises(UsageError, match="in one another"):
        twice.finalize(only_even, into=f"{prefix}/even")
    with pytest.raises(UsageError, match="names no output"):
        make(str(tmp_path / "squares"), "s3://bucket")


JOB = """
import os

import batten


def sign(rows):
    return rows.append_column("maker", [[os.environ["MAKER"]] * rows.num_rows])


first = batten.from_range(6).map(lambda number: {{"number": number}}).write_parquet("rows")
made = first.finalize(sign, into="{output}", version=os.environ["VERSION"])
if __name__ == "__main__":
    made.run(executor="serial", progress=False)
"""


def start(folder: Path, output: str, maker: str, version: str) -> subprocess.Popen[bytes]:
    (folder / "job.py").write_text(JOB.format(output=output))
    return subprocess.Popen(
        [sys.executable, "job.py"],
        cwd=folder,
        env={**os.environ, "MAKER": maker, "VERSION": version},
        start_new_session=True,
    )


def read_makers(output: str) -> set[str]:
    rows = batten.open(output).to_arrow().to_pylist()
    assert [row["number"] for row in rows] == [*range(6)]
    return {row["maker"] for row in rows}


@pytest.mark.parametrize("most", [2, pytest.param(None, marks=pytest.mark.crash, id="each")])
def test_killed_at_a_request(
    prefix: str,
    objects: ObjectStoreServer,
    most: int | None,
    seeded: Random,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What a reader finds at each moment is tried in memory."""
    with monkeypatch.context() as patch, ObjectRelay(objects.port, lambda _: Fate.DONE) as relay:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        assert start(tmp_path, f"{prefix}/counted", "old", "0").wait() == 0
        before = len(relay.requests)
        assert start(tmp_path, f"{prefix}/counted", "new", "1").wait() == 0
        changes = number_changes(relay.requests[before:])
    every = [*product(changes, (Fate.LOST, Fate.UNHEARD, Fate.LATE))]
    for at, mishap in every if most is None else seeded.sample(every, most):
        output = f"{prefix}/{at}-{mishap.name}/rows"
        begun: list[subprocess.Popen[bytes]] = []
        assert start(tmp_path, output, "old", "0").wait() == 0

        fate = kill_at(at, mishap, begun)
        with monkeypatch.context() as patch, ObjectRelay(objects.port, fate) as relay:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
            begun.append(start(tmp_path, output, "new", "1"))
            begun[0].wait()
            patch.undo()
            assert read_makers(output) in ({"old"}, {"new"})
            relay.deliver_late()
            assert read_makers(output) in ({"old"}, {"new"})
            assert start(tmp_path, output, "last", "1").wait() == 0
        assert read_makers(output) <= {"new", "last"}
        assert batten.diagnose(output).state.value == "COMPLETE"
