"""A dataset in an object store, of which a second one is made in a folder of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import batten
from batten.errors import BusyError, UsageError
from batten.inspect.verifying.verify import verify
from batten.storage.objects.store import BucketStore

ITEMS = 30


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def only_even(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(pc.bit_wise_and(rows["square"], 1), 0)).select(["square"])


def make(output: str, into: Path, function: Any = only_even, items: int = ITEMS) -> Any:
    made = batten.from_range(items).map(square).options(batch_size=10).write_parquet(output)
    return made.finalize(function, into=into)


def run(made: Any, **options: Any) -> Any:
    return made.run(executor="serial", progress=False, **options)


def read(into: Path) -> list[int]:
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


def test_the_second_does_not_lie_in_a_store(prefix: str) -> None:
    with pytest.raises(UsageError, match="is an address"):
        make(f"{prefix}/squares", f"{prefix}/even")  # type: ignore[arg-type]
