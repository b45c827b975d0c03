"""What reads Parquet reads what lies in a store: through batten, and by its own client."""

from __future__ import annotations

import os
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

import batten
from batten.page.serving import LivePages, PageServer

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
@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.csv"])
def test_it_is_exported(
    place: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = batten.open(request.getfixturevalue(place))
    assert found.export(tmp_path / name) == ITEMS
    read = {
        "rows.parquet": batten.from_parquet,
        "rows.jsonl": batten.from_jsonl,
        "rows.csv": batten.from_csv,
    }[name](tmp_path / name, key="key")
    copied = read.map(lambda row: {"number": int(row["number"])}).write_parquet(tmp_path / "copy")
    copied.run(executor="serial", progress=False)
    rows = batten.open(tmp_path / "copy").to_arrow(["number"]).column("number").to_pylist()
    assert rows == [*range(ITEMS)]


@pytest.mark.parametrize("place", ["output", "anew"])
def test_its_page_is_served(place: str, request: pytest.FixtureRequest) -> None:
    address = request.getfixturevalue(place)
    with PageServer(LivePages([address])) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_address[1])
        connection.request("GET", "/")
        answer = connection.getresponse()
        page = answer.read().decode()
        connection.close()
        server.shutdown()
        thread.join()
    assert answer.status == 200
    assert address in page
    assert "COMPLETE" in page


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
