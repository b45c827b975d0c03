"""What reads Parquet reads what lies in a store: through batten, and by its own client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batten

ITEMS = 10


@pytest.fixture
def output(prefix: str) -> str:
    place = f"{prefix}/rows"
    pipeline = batten.from_range(ITEMS).map(lambda number: {"number": number, "text": "x"})
    pipeline = pipeline.options(batch_size=4).write_parquet(place)
    pipeline.run(executor="serial", progress=False)
    return place


@pytest.fixture
def anew(output: str) -> str:
    """Another dataset has taken the place of the first."""
    pipeline = batten.from_range(ITEMS).map(lambda number: {"number": number, "text": "x"})
    pipeline = pipeline.options(batch_size=4).write_parquet(output)
    pipeline.run(executor="serial", progress=False, fresh=True)
    return output


@pytest.mark.parametrize("place", ["output", "anew"])
def test_arrow(place: str, request: pytest.FixtureRequest) -> None:
    found = batten.open(request.getfixturevalue(place))
    assert found.to_arrow(["number"]).column("number").to_pylist() == [*range(ITEMS)]
    assert len(list(found)) == found.count_rows() == ITEMS


@pytest.mark.parametrize("place", ["output", "anew"])
def test_polars(place: str, request: pytest.FixtureRequest) -> None:
    polars = pytest.importorskip("polars")
    found = batten.open(request.getfixturevalue(place))
    assert found.to_polars()["number"].to_list() == [*range(ITEMS)]
    few = found.scan_polars().filter(polars.col("number") > 7).select("number").collect()
    assert few["number"].to_list() == [8, 9]


@pytest.mark.parametrize("place", ["output", "anew"])
def test_duckdb(place: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("duckdb")
    relation = batten.open(request.getfixturevalue(place)).to_duckdb()
    for _ in range(2):  # It may be executed more than once.
        assert relation.filter("number > 7").project("number").fetchall() == [(8,), (9,)]
    assert relation.aggregate("count(*)").fetchall() == [(ITEMS,)]


def test_arrow_by_its_own_client(output: str) -> None:
    filesystem = pytest.importorskip("pyarrow.fs")
    import pyarrow.dataset as arrow

    store = filesystem.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    found = arrow.dataset(output.removeprefix("s3://"), filesystem=store).to_table()
    assert sorted(found.column("number").to_pylist()) == [*range(ITEMS)]


def test_polars_by_its_own_client(output: str) -> None:
    polars = pytest.importorskip("polars")
    found = polars.scan_parquet(f"{output}/part-*.parquet").collect()
    assert sorted(found["number"].to_list()) == [*range(ITEMS)]


def test_the_first_prefix_is_empty_when_another_took_its_place(anew: str, tmp_path: Path) -> None:
    from batten.inspect.show import show

    at = show(anew).parts_at
    assert at != anew
    polars = pytest.importorskip("polars")
    found = polars.scan_parquet(f"{at}/part-*.parquet").collect()
    assert sorted(found["number"].to_list()) == [*range(ITEMS)]
