"""What a shell and a notebook show of values: a line, or a small table in which all is escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

import batten

HOSTILE = "<script>alert(1)</script>&\x1b[31m\u202e'\""


class Tags(HTMLParser):
    """Collects what a page would obey."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def measure(n: int) -> dict[str, int]:
    if n == 1:
        raise ValueError("no")
    return {"n": n}


def is_even(row: dict[str, int]) -> bool:
    return row["n"] % 2 == 0


def test_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = batten.from_range(4).map(measure).filter(is_even).write_parquet("out/")
    assert repr(pipeline) == "<Pipeline range → map(measure) → filter(is_even) → parquet(out)>"
    report = pipeline.run(executor="serial", progress=False)
    assert repr(report) == "<Report out: complete; 4 items, 1 quarantined, 2 rows>"
    assert repr(batten.diagnose("out")) == "<Diagnosis out: COMPLETE; batten show out>"
    assert repr(batten.open("out")) == "<Dataset out: 2 rows>"


def test_every_kind_of_pipeline(tmp_path: Path) -> None:
    def total(refunds: object) -> object:
        return refunds

    def sort(table):  # type: ignore[no-untyped-def]
        return table

    tables = batten.from_tables(refunds=tmp_path / "absent.csv").apply(total)
    shown = repr(tables.write_csv(tmp_path / "report.csv"))
    assert shown.startswith("<TablePipeline tables refunds → apply(total) → csv(")
    both = batten.from_files("clips/*.mp4").map(measure).write_parquet("a/").write_jsonl("b.jsonl")
    assert repr(both.finalize(sort, into="c/")) == (
        "<Pipeline files clips/*.mp4 → map(measure) → parquet(a) → jsonl(b.jsonl) → "
        "finalize(sort → c)>"
    )


def test_no_password_is_shown() -> None:
    pipeline = batten.from_range(1).map(measure)
    pipeline = pipeline.write_postgres("postgresql://me:hunter2@db/x", table="t", ledger="out")
    assert "hunter2" not in repr(pipeline) + pipeline._repr_html_()


def test_hostile_names_are_text_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = HOSTILE.replace("/", "")

    def work(n: int) -> dict[str, int]:
        return {name: n}

    work.__name__ = name
    pipeline = batten.from_range(4).map(work).write_parquet(name)
    report = pipeline.run(executor="serial", progress=False)
    for value in (pipeline, report, batten.diagnose(name), batten.open(name)):
        assert repr(value).isprintable()
        html = value._repr_html_()
        shown = Tags(html)
        assert shown.names <= {"div", "strong", "table", "tr", "th", "td"}, html
        assert html.isprintable()
        assert "<script>alert(1)<script>" in shown.text
