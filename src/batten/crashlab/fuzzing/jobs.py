"""The job whose pipelines make the folders that fuzzing begins with."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

JOB = textwrap.dedent("""
    import os
    import signal
    import batten

    def double(n: int) -> dict:
        if n == 3:
            raise ValueError("three is odd")
        if n == 5 and os.environ.get("FUZZ_STOP"):
            os.kill(os.getpid(), signal.SIGTERM)
        return {"double": 2 * n, "text": f"t{n}"}

    def numbers():
        yield from [*range(8), 1]

    def name(n: int) -> bytes:
        return double(n)["text"].encode()

    def again(row: dict) -> dict:
        return double(row["double"] // 2)

    own = [*range(8), 1]
    keyed = batten.from_items(own, key=str).map(double).options(batch_size=2).write_parquet("out")
    lazy = batten.from_items(numbers, key=str).map(double).options(batch_size=3)
    values = lazy.write_parquet("out")
    plain = batten.from_items(numbers).map(double).options(batch_size=3).write_parquet("out")
    table = lazy.write_csv("out")
    database = lazy.write_sqlite("out", "rows", key="key")

    def put(change, item, prepared):
        change.write(f"{item}.md", prepared["text"])

    pages = batten.from_items(own, key=str).map(double).write_tree("out", commit=put)
    both = keyed.write_jsonl("out-too").finalize(lambda rows: rows.slice(0, 2), into="out-few")
    whole = batten.from_tables(rows="job.csv").apply(lambda rows: rows).write_csv("out")
    some = batten.from_items(own, key=str)
    files = some.map(name).options(batch_size=2).write_files("out/{key}/a.txt")
    hive = some.map(double).options(batch_size=2).write_parquet("out", partition_by="text")
    adopted = batten.from_jsonl("job.jsonl", key="key").map(again).options(batch_size=2)
    adopted = adopted.write_parquet("out")

    def ask(n: int) -> dict:
        return {"number": n}

    def take(answer: dict, n: int) -> dict:
        return {**double(n), "said": answer["said"]}

    asked = batten.from_items(own, key=str).map_batch_api(
        ask, parse=take, base_url="http://127.0.0.1:9/v1", poll_seconds=0.001, wait_seconds=0,
        retries=0,
    )
    submitted = asked.options(batch_size=2).write_parquet("out")
    first = batten.from_items([0, 1, 2, 4, 5, 6], key=str).map(double).options(batch_size=2)
    first = first.write_parquet("out-first")
    chain = batten.from_dataset("out-first").map(again).options(batch_size=2).write_parquet("out")
""")

PIPELINES = (
    *("keyed", "values", "plain", "table", "database", "pages", "both", "whole"),
    *("files", "hive", "adopted", "chain"),
)
ROWS = [{"key": str(n), "double": 2 * n, "text": f"t{n}"} for n in (0, 1, 2, 4, 5, 6)]


def lay_job(root: Path) -> None:
    """The job, and what some of its pipelines read."""
    (root / "job.py").write_text(JOB)
    (root / "job.csv").write_text("n,text\n1,a\n2,b\n")
    (root / "job.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))


def run_job(pipeline: str, *, stop: bool = False) -> Callable[[Path], None]:
    """What runs it in the current folder, after what it begins with; with `stop` until it kills
    itself."""

    def run(root: Path) -> None:
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if pipeline == "chain":
            _run("first")
        if pipeline == "adopted":
            _adopt(root)
        if stop:
            os.environ["FUZZ_STOP"] = "1"
        _run(pipeline)

    return run


def _run(pipeline: str) -> None:
    from batten.errors import BattenError
    from batten.jobs.loading.job_file import load_job
    from batten.pipeline.pipeline import Pipeline

    job = load_job(f"job.py:{pipeline}", {}, Pipeline)
    with suppress(BattenError):
        job.pipeline.run(executor="serial", progress=False)


def _adopt(root: Path) -> None:
    from batten.cli.main import main

    (root / "job.rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS[1::2]))
    main(["adopt", "job.rows.jsonl", "--key", "key", "--into", "out", "--job", "job.py:adopted"])
