"""A source that looks at a folder does not take in what the pipeline itself makes there."""

from __future__ import annotations

from typing import Any

import pytest

Job = Any
"""A `JobFolder` of tests/conftest.py."""

PATTERNS = ("data/**/*", "**/*.*", "data/*")
SINKS = {
    "parts": '.write_parquet("data/out")',
    "parts deep": '.write_parquet("data/deep/out")',
    "file": '.write_csv("data/out.csv")',
    "file beside": '.write_parquet("out").write_jsonl("data/out.jsonl")',
    "database": '.write_parquet("out").write_sqlite("data/out.db", "items")',
    "parts by a parameter": '.write_parquet("data/{day}/out")',
    "iceberg": '.write_parquet("out").write_iceberg("lab.rows", catalog={"type": "sql", "uri": '
    'f"sqlite:///{HERE}/data/catalogue.db", "warehouse": f"file://{HERE}/data/lake"})',
    "iceberg beside": '.write_parquet("out").write_iceberg("lab.rows", catalog={"type": "sql", '
    '"uri": f"sqlite:///{HERE}/data/catalogue.db", "warehouse": f"file://{HERE}/data"})',
    "cache": '.map(add, cache=batten.Cache(f"{HERE}/data/kept")).write_parquet("out")',
    "final": '.write_parquet("out").finalize(whole, into="data/final")',
}


CASES = [
    (pattern, sink) for pattern in PATTERNS for sink in SINKS if not sink.startswith("iceberg")
]
CASES += [("data/**/*", "iceberg"), ("data/**/*", "iceberg beside")]


@pytest.mark.parametrize(("pattern", "sink"), CASES)
def test_the_second_run_finds_nothing_new(job: Job, sink: str, pattern: str) -> None:
    job.write(f"""
        import os

        HERE = os.path.dirname(os.path.abspath(__file__))

        def name(path):
            return {{"name": path.name}}

        def add(row):
            return {{**row, "length": len(row["name"])}}

        def whole(table):
            return table

        def pipeline(day: str = "monday"):
            return batten.from_files("{pattern}").filter(lambda path: path.suffix == ".txt").map(
                name){SINKS[sink]}
    """)
    for path in ("data/a.txt", "data/deep/b.txt", "data/monday/c.txt"):
        (job.path / path).parent.mkdir(parents=True, exist_ok=True)
        (job.path / path).write_text("x")
    counts = []
    for _ in range(3):
        ended = job.run("--json")
        assert ended.code == 0, ended.err
        counts.append(ended.json["items"]["source"])
    # Python keeps what it compiled of the job beside it, once.
    assert counts[1] == counts[2]
    assert pattern == "**/*.*" or counts[0] == counts[1]
    assert ended.json["status"] == "nothing-to-do"


def test_control_folders_of_others_are_left_out_and_their_parts_are_not(job: Job) -> None:
    job.write("""
        pipeline = batten.from_range(3).map(lambda n: {"n": n}).write_parquet("data/made")
    """)
    assert job.run().code == 0
    (job.path / "data/notes.batten").write_text("a file of one's own")
    job.write(
        """
        pipeline = batten.from_files("data/**/*").map(lambda path: {"name": path.name}
            ).write_parquet("data/names")
    """,
        "names.py",
    )
    assert job.run(job="names.py").code == 0
    assert [row["key"] for row in job.rows("data/names")] == [
        "made/part-000000.parquet",
        "notes.batten",
    ]


@pytest.mark.parametrize("pattern", ["data/made.batten/*.json", "data/*.batten/*.json"])
def test_a_pattern_that_says_so_looks_into_a_control_folder(job: Job, pattern: str) -> None:
    job.write("""
        pipeline = batten.from_range(3).map(lambda n: {"n": n}).write_parquet("data/made")
    """)
    assert job.run().code == 0
    job.write(
        f"""
        pipeline = batten.from_files("{pattern}").map(lambda path: {{"name": path.name}}
            ).write_parquet("names")
    """,
        "names.py",
    )
    assert job.run(job="names.py").code == 0
    assert sorted(row["name"] for row in job.rows("names")) == ["dataset.json", "schema.json"]


def test_links_to_what_is_made_are_left_out(job: Job) -> None:
    job.write("""
        pipeline = batten.from_files("data/**/*").map(lambda path: {"name": path.name}
            ).write_parquet("out").write_csv("all.csv")
    """)
    (job.path / "data").mkdir()
    (job.path / "data/a.txt").write_text("x")
    assert job.run().code == 0
    (job.path / "data/link").symlink_to(job.path / "out")
    (job.path / "data/link.csv").symlink_to(job.path / "all.csv")
    assert job.run("--json").json["status"] == "nothing-to-do"


@pytest.mark.parametrize("key", ["", ', key="key"'])
def test_a_folder_of_parquet_files_with_the_own_output_in_it(job: Job, key: str) -> None:
    job.write("""
        pipeline = batten.from_range(3).map(lambda n: {"n": n}).write_parquet("data/in.parquet")
    """)
    assert job.run().code == 0
    job.write(
        f"""
        pipeline = batten.from_parquet("data"{key}).map(lambda row: {{"n": row["n"]}}
            ).write_parquet("data/out.parquet")
    """,
        "copied.py",
    )
    for number, words in enumerate((["--jobs", "1"], [], ["--workers", "spawn", "--fresh"])):
        ended = job.run("--json", *words, job="copied.py")
        assert ended.code == 0, ended.err
        assert (ended.code, ended.json["items"]["source"]) == (0, 3), (number, ended.err)


@pytest.mark.parametrize(
    "built",
    [
        'from_csv("data.csv").write_csv("data.csv")',
        'from_csv("data.csv").write_parquet("out").write_csv("./x/../data.csv")',
        'from_jsonl("data.csv").write_jsonl("data.csv")',
        'from_parquet("data.csv").write_parquet("data.csv")',
        'from_files("data.csv").write_csv("data.csv")',
        'from_files("data/*").write_parquet("data")',
    ],
)
def test_what_is_read_is_not_made(job: Job, built: str) -> None:
    (job.path / "data.csv").write_text("a\n1\n")
    (job.path / "data").mkdir()
    (job.path / "data" / "a.txt").write_text("x")
    job.write(f"pipeline = batten.{built}")
    ended = job.run()
    assert ended.code == 2
    assert "is both what the pipeline reads and what it makes" in ended.told[0]
    assert (job.path / "data.csv").read_text() == "a\n1\n"


def test_a_live_tree_may_be_read_where_it_is_changed(job: Job) -> None:
    (job.path / "tree").mkdir()
    (job.path / "tree" / "a.txt").write_text("x")
    job.write("""
        def commit(tree, row):
            tree.write(row["name"], "y")

        pipeline = batten.from_files("tree/*.txt").map(lambda path: {"name": path.name}
            ).write_tree("tree", commit=commit)
    """)
    ended = job.run("--json")
    assert ended.json["items"]["source"] == 1, ended.err
