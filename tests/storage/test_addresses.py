"""A place with a scheme is no local path: it is refused, and no folder of that name appears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main
from batten.errors import UsageError
from batten.storage.addresses import is_of_one_process, local_path
from batten.storage.plugin import find_store

ADDRESSES = [
    "s3://bucket/out",
    "S3:/bucket/out",
    "gs://bucket/out.csv",
    "az://container/a",
    "abfss://c@account.dfs.core.windows.net/a",
    "http://host/rows.jsonl",
    "https://host/rows.csv?x=1",
    "hdfs://name/out",
    "unheard-of+x://what",
    "{scheme}://bucket/out",
    " s3://bucket/out",
    "file:base.db?mode=rw",
    "sqlite:/base.db",
    "jdbc:sqlite:base.db",
]
PATHS = [
    "a:b/c",
    "10:30/out",
    "s3/out",
    "c:/out",
    "out:/x",
    "s3:bucket",
    "/a/s3:/b",
    "x:",
    "a/b://c",
]


@pytest.mark.parametrize("path", ADDRESSES)
def test_an_address_is_refused_as_text_and_as_a_path(path: str) -> None:
    with pytest.raises(UsageError, match="is an address"):
        local_path(path)
    if "unheard" not in path and "{" not in path and " " not in path:
        with pytest.raises(UsageError, match="is an address"):
            local_path(Path(path))


@pytest.mark.parametrize("path", PATHS)
def test_a_colon_makes_no_address(path: str) -> None:
    assert local_path(path) == path
    assert local_path(Path(path)) == str(Path(path))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    (home / "in" / "a.txt").write_text("a")
    (home / "rows.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "here")
    return home


SOURCES: dict[str, Callable[[], Any]] = {
    "files": lambda: batten.from_files("~/in/*.txt"),
    "rows": lambda: batten.from_jsonl("~/rows.jsonl", key="id"),
}
OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "parts": lambda job: job.write_parquet("~/out"),
    "lines": lambda job: job.write_jsonl("~/out.jsonl"),
    "table": lambda job: job.write_sqlite("~/out.db", "rows"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_home_folder_is_meant_as_by_a_shell(source: str, output: str, home: Path) -> None:
    job = OUTPUTS[output](SOURCES[source]().map(lambda value: {"it": str(value)}))
    assert job.run(progress=False, executor="serial").rows == 1
    assert any(home.glob("out*"))
    assert list(Path().iterdir()) == []
    assert main(["diagnose", f"~/{next(home.glob('out*')).name}"]) == 0


def test_a_name_that_begins_with_a_tilde_is_a_name(home: Path) -> None:
    for name in ("~backup", "./~/out", "a~/b"):
        assert local_path(name) == name


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("output", [*OUTPUTS, "files"])
def test_what_no_file_can_be_called_is_refused(output: str, name: str, home: Path) -> None:
    outputs = {
        "parts": lambda job: job.write_parquet(name),
        "lines": lambda job: job.write_jsonl(name),
        "table": lambda job: job.write_sqlite(name, "rows"),
        "files": lambda job: job.write_files(name + "{key}"),
    }
    with pytest.raises(UsageError, match="can't be the name of a file"):
        outputs[output](batten.from_range(2).map(str))
    with pytest.raises(UsageError, match=r"name of a file|Not a path"):
        batten.from_files(name)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_what_each_process_has_by_itself_is_no_source(name: str, home: Path) -> None:
    with (home / "rows.jsonl").open() as file:
        job = batten.from_jsonl(name.format(file.fileno()), key="id").map(str)
        with pytest.raises(UsageError, match="cannot be read twice"):
            job.write_parquet("out").run(progress=False)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file:/a/b%20c", "/a/b c"),
        ("FILE:///a", "/a"),
        ("file:a%20b.db?mode=rw", "a b.db"),
    ],
)
def test_of_a_file_the_path_is_told(address: str, path: str) -> None:
    with pytest.raises(UsageError) as refused:
        local_path(address)
    assert refused.value.next == f"Write the path itself: {path!r}"


@pytest.mark.parametrize(
    "address", ["mysql://u:hidden@host/b", "postgresql+psycopg2://u:hidden@h/b", "s3:/bucket"]
)
def test_an_address_of_another_database_is_refused_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BASE", address)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        batten.from_range(1).write_postgres(address, "t")
    with pytest.raises(UsageError) as refused_late:
        batten.from_range(1).write_postgres(batten.Secret("BASE"), "t").run(executor="serial")
    for each in (refused, refused_late):
        assert "is for PostgreSQL" in each.value.what
        assert "hidden" not in str(each.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["postgresql://h/b", "postgres://h/b", "host=h options='-c a=b://c'", "", "dbname=x"]
)
def test_addresses_of_postgresql_are_taken(address: str) -> None:
    assert batten.from_range(1).write_postgres(address, "t").sinks


def test_a_catalogue_is_named_or_described() -> None:
    with pytest.raises(UsageError, match="names a catalogue that is configured"):
        batten.from_range(1).write_iceberg("a.b", catalog="sqlite:///cat.db")


def _rows(rows: Any) -> Any:
    return rows


CALLS: dict[str, Any] = {
    "from_files": lambda at: batten.from_files(f"{at}/*.mp4"),
    "from_jsonl": batten.from_jsonl,
    "from_csv": batten.from_csv,
    "from_parquet": batten.from_parquet,
    "from_dataset": batten.from_dataset,
    "from_landed": batten.from_landed,
    "from_kafka": lambda at: batten.from_kafka("t", servers="127.0.0.1:1", into=at),
    "from_tables": lambda at: batten.from_tables(rows=f"{at}/rows.csv"),
    "write_parquet": lambda at: batten.from_range(1).write_parquet(at),
    "write_parquet file": lambda at: batten.from_range(1).write_parquet(f"{at}.parquet"),
    "write_csv": lambda at: batten.from_range(1).write_csv(at),
    "write_jsonl": lambda at: batten.from_range(1).write_jsonl(at),
    "write_sqlite": lambda at: batten.from_range(1).write_sqlite(at, "t", ledger="here"),
    "write_delta": lambda at: batten.from_range(1).write_delta(at, ledger="here"),
    "write_postgres ledger": lambda at: batten.from_range(1).write_postgres("x", "t", ledger=at),
    "write_tree": lambda at: batten.from_range(1).write_tree(at, commit=lambda a, b, c: None),
    "finalize": lambda at: batten.from_range(1).write_parquet("o").finalize(_rows, into=at),
    "cache": batten.Cache,
    "cache of a step": lambda at: batten.from_range(1).map(_rows, cache=at),
    "land": lambda at: batten.land([1], into=at),
    "transaction": lambda at: batten.transaction(at).__enter__(),
    "read_lock": lambda at: batten.read_lock(at).__enter__(),
    "publish_file": lambda at: batten.publish_file(at).__enter__(),
    "publish_directory": lambda at: batten.publish_directory(at).__enter__(),
    "open": batten.open,
    "diagnose": batten.diagnose,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "address", ["hdfs://bucket/out", Path("s3://bucket/out")], ids=["text", "path"]
)
def test_every_call_refuses_it(
    call: str, address: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is an address"):
        CALLS[call](address)
    assert not list(tmp_path.iterdir())


COMMANDS = [
    ["run", "hdfs://bucket/job.py"],
    ["diagnose", "hdfs://bucket/out"],
    ["diagnose", "--final", "hdfs://bucket/out.csv"],
    ["recover", "hdfs://bucket/out"],
    ["verify", "hdfs://bucket/out"],
    ["clean", "hdfs://bucket/out"],
    ["show", "hdfs://bucket/out"],
    ["report", "hdfs://bucket/out"],
    ["report", "out", "-o", "hdfs://bucket/page.html"],
    ["serve", "hdfs://bucket/out"],
    ["export", "out", "hdfs://bucket/rows.csv"],
    ["cache", "show", "hdfs://bucket/cache"],
    ["audit", "--done", "hdfs://bucket/done", "--rows", "rows.parquet", "--key", "k"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_every_command_refuses_it(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    batten.from_range(2).map(lambda n: {"n": n}).write_parquet("out").run(executor="serial")
    before = sorted(tmp_path.iterdir())
    assert main(words) == 2
    assert "is an address" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "written",
    ["s3://key:SECRET@bucket/x/out", "s3://key:SECRET@bucket", "s3://bucket/x/out?sig=SECRET"],
)
def test_an_address_with_a_secret_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_store(written, Path())
    error = caught.value
    assert "SECRET" not in f"{error.what} {error.safe} {error.next}"


def row(number: int) -> dict[str, int]:
    return {"number": number}


PIPELINE = batten.from_range(1).map(row)
TAKE_PATHS: dict[str, Callable[[Any], object]] = {
    "write_parquet": lambda given: PIPELINE.write_parquet(given),
    "write_csv": lambda given: PIPELINE.write_csv(given),
    "write_files": lambda given: PIPELINE.write_files(given),
    "write_sqlite": lambda given: PIPELINE.write_sqlite(given, "rows"),
    "ledger": lambda given: PIPELINE.write_sqlite("base.db", "rows", ledger=given),
    "write_delta": lambda given: PIPELINE.write_delta(given),
    "finalize": lambda given: PIPELINE.write_parquet("rows").finalize(row, into=given),
    "metrics": lambda given: PIPELINE.write_parquet("rows").run(metrics=given),
    "from_files": lambda given: batten.from_files(given),
    "from_csv": lambda given: batten.from_csv(given, key="number"),
    "from_tables": lambda given: batten.from_tables(rows=given),
    "from_dataset": lambda given: batten.from_dataset(given),
    "diagnose": lambda given: batten.diagnose(given),
    "open": lambda given: batten.open(given),
    "transaction": lambda given: batten.transaction(given).__enter__(),
    "land": lambda given: batten.land([], into=given),
}


@pytest.mark.parametrize("take", TAKE_PATHS.values(), ids=TAKE_PATHS)
@pytest.mark.parametrize(
    "given", [5, 1.5, object(), ["rows"]], ids=["number", "real", "object", "list"]
)
def test_what_is_no_path_is_told(take: Callable[[Any], object], given: object) -> None:
    with pytest.raises(UsageError, match="path"):
        take(given)


@pytest.mark.parametrize(
    "path",
    [
        "/dev/stdin",
        "/dev/fd/3",
        "/dev/fd",
        "/proc/self/fd/0",
        "/proc/12/fd/3",
        "/proc/thread-self/fd",
    ],
)
def test_the_name_of_an_open_file_is_of_one_process(path: str) -> None:
    assert is_of_one_process(path)
    assert is_of_one_process(f"/tmp/..{path}")
    assert not is_of_one_process(f"/tmp{path}")


@pytest.mark.parametrize("path", ["/dev/shm/rows.csv", "/proc/cpuinfo", "/dev/fdisk.csv"])
def test_other_names_are_the_same_for_all(path: str) -> None:
    assert not is_of_one_process(path)
