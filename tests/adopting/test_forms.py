"""Rows of other forms: CSV, Parquet, several files, folders with marks, items with many rows."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CLIPS = 10
EVEN = range(0, CLIPS, 2)
ODD = [f"c{number}.mp4" for number in range(1, CLIPS, 2)]
DONE = {f"c{number}.mp4": (number, f"c{number}") for number in range(CLIPS)}
TYPED = """
    import datetime
    from pathlib import Path
    from typing import TypedDict

    class Row(TypedDict):
        when: datetime.date
        size: float
        code: str
        is_short: bool

    def measure(clip: Path) -> Row:
        with open("calls", "a") as calls:
            calls.write(clip.name + "\\n")
        return {
            "when": datetime.date(2026, 4, 24), "size": 1.5, "code": "007", "is_short": True
        }

    pipeline = batten.from_files("clips/*.mp4").map(measure).write_parquet("out/")
"""


def row_of(number: int) -> dict[str, Any]:
    return {"clip": f"c{number}.mp4", "frames": number, "name": f"c{number}"}


def adopt(job: Any, *rows: str, key: str = "clip", more: tuple[str, ...] = ()) -> Any:
    words = ["adopt", *rows, "--key", key, "--into", "out", "--job", "job.py", *more, "--json"]
    before = {name: (job.path / name).read_bytes() for name in list_files(job.path, rows)}
    adopted = job.batten(*words)
    assert {name: (job.path / name).read_bytes() for name in before} == before
    assert adopted.code == 0, adopted.err
    assert job.calls() == []
    return adopted.json


def list_files(folder: Path, rows: tuple[str, ...]) -> list[str]:
    found = [folder / name for name in rows]
    files = [each for path in found for each in (path.rglob("*") if path.is_dir() else [path])]
    return [str(path.relative_to(folder)) for path in files if path.is_file()]


def finish(job: Any, calls: list[str]) -> None:
    ran = job.run("--json")
    assert ran.code == 0, ran.err
    assert sorted(job.calls()) == calls
    assert job.batten("verify", "out").code == 0


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_csv_of_a_job_that_says_no_types(clips: Any) -> None:
    """Texts are numbers only where nothing of them is lost by it."""
    write_csv(clips.path / "rows.csv", [row_of(number) for number in EVEN])
    with (clips.path / "rows.csv").open("a") as file:
        file.write("c1.mp4,1,c1,more\nc3.mp4,fra")
    told = adopt(clips, "rows.csv")
    assert told["items"]["adopted"] == 5
    assert {kind: each["first"] for kind, each in told["not_taken"].items()} == {
        "malformed_lines": ["rows.csv:7"],
        "torn_lines": ["rows.csv:8"],
    }
    finish(clips, ODD)
    assert {row["key"]: (row["frames"], row["name"]) for row in clips.rows()} == DONE


def test_texts_become_the_types_that_the_job_says(clips: Any) -> None:
    clips.write(TYPED)
    rows = [
        {"clip": "c0.mp4", "when": "2026-04-24", "size": "2", "code": "007", "is_short": "True"},
        {"clip": "c2.mp4", "when": "2026-04-25", "size": "0.5", "code": "", "is_short": ""},
        {"clip": "c4.mp4", "when": "soon", "size": "1", "code": "1", "is_short": "True"},
    ]
    write_csv(clips.path / "rows.csv", rows)
    told = adopt(clips, "rows.csv")
    assert (told["items"]["adopted"], told["not_taken"]["misfits"]["first"]) == (2, ["c4.mp4"])
    assert clips.rows() == [
        {
            "key": "c0.mp4",
            "when": datetime.date(2026, 4, 24),
            "size": 2.0,
            "code": "007",
            "is_short": True,
        },
        {
            "key": "c2.mp4",
            "when": datetime.date(2026, 4, 25),
            "size": 0.5,
            "code": "",
            "is_short": None,
        },
    ]
    finish(clips, ["c1.mp4", *(f"c{number}.mp4" for number in range(3, CLIPS))])


def test_times_in_json_are_read(clips: Any) -> None:
    clips.write(TYPED)
    row = {"clip": "c0.mp4", "when": "2026-04-24", "size": 2, "code": "007", "is_short": True}
    (clips.path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert adopt(clips, "rows.jsonl")["items"]["adopted"] == 1
    assert clips.rows()[0]["when"] == datetime.date(2026, 4, 24)


def test_parquet_and_what_was_staged_beside_it(clips: Any) -> None:
    rows = [row_of(number) for number in (0, 2, 4)]
    pq.write_table(pa.Table.from_pylist(rows), clips.path / "rows.parquet", row_group_size=2)
    lines = [json.dumps(row_of(number)) + "\n" for number in (4, 6, 8)]
    (clips.path / "staging.jsonl").write_text("".join(lines) + '{"clip": "c1.mp4", ')
    told = adopt(clips, "rows.parquet", "staging.jsonl")
    assert told["items"]["adopted"] == 5
    assert told["not_taken"]["doubled"]["first"] == ["c4.mp4"]
    finish(clips, ODD)
    assert {row["key"]: (row["frames"], row["name"]) for row in clips.rows()} == DONE


def test_a_damaged_parquet_file_is_refused(clips: Any) -> None:
    (clips.path / "rows.parquet").write_bytes(b"PAR1 and no more")
    words = ["adopt", "rows.parquet", "--key", "clip", "--into", "out", "--job", "job.py"]
    refused = clips.batten(*words)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert not (clips.path / "out.batten").exists()


@pytest.mark.parametrize("is_named", [True, False])
def test_outputs_with_marks_beside_them(clips: Any, is_named: bool) -> None:
    """An output without its mark may be half written, a mark without an output says nothing."""
    folder = clips.path / "outputs"
    folder.mkdir()
    for number in (0, 2, 4, 6, 8, 1):
        row = row_of(number)
        if not is_named:
            del row["clip"]
        name = f"c{number}.mp4.json" if number % 4 else f"c{number}.json"
        (folder / name).write_text(json.dumps(row))
        if number != 1:
            (folder / f"c{number}.mp4.done").touch()
    (folder / "c3.mp4.done").touch()
    (folder / "c5.mp4.json").write_text('{"fra')
    (folder / "c5.mp4.done").touch()
    told = adopt(clips, "outputs")
    assert told["items"]["adopted"] == 5
    assert {kind: each["first"] for kind, each in told["not_taken"].items()} == {
        "done_without_rows": ["c3.mp4"],
        "unfinished_files": ["outputs/c1.mp4.json"],
        "malformed_lines": ["outputs/c5.mp4.json:1"],
    }
    finish(clips, ODD)
    assert {row["key"]: (row["frames"], row["name"]) for row in clips.rows()} == DONE


def test_only_what_the_done_file_names(clips: Any) -> None:
    lines = [json.dumps(row_of(number)) + "\n" for number in range(CLIPS)]
    (clips.path / "rows.jsonl").write_text("".join(lines[:9]))
    marks = [f"c{number}.mp4" for number in EVEN] + ["c9.mp4", "c1.m"]
    (clips.path / "clips.done").write_text("\n".join(marks))
    told = adopt(clips, "rows.jsonl", more=("--done", "clips.done"))
    assert told["items"]["adopted"] == 5
    not_taken = told["not_taken"]
    assert (not_taken["not_done"]["count"], not_taken["not_done"]["first"][0]) == (4, "c1.mp4")
    assert not_taken["done_without_rows"]["first"] == ["c9.mp4"]
    finish(clips, ODD)


def test_items_with_many_rows(clips: Any) -> None:
    clips.write(
        """
        from pathlib import Path

        def split(clip: Path):
            with open("calls", "a") as calls:
                calls.write(clip.name + "\\n")
            return [{"frame": number} for number in range(int(clip.stem[1:]))]

        pipeline = batten.from_files("clips/*.mp4").flat_map(split).write_parquet("out/")
        """
    )
    rows = [
        {"clip": f"c{number}.mp4", "frame": frame}
        for number in (2, 3, 4, 5)
        for frame in range(number if number != 5 else 2)
    ]
    rows += [{"clip": "c3.mp4", "frame": 1}]
    (clips.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (clips.path / "clips.done").write_text("c2.mp4\nc3.mp4\nc4.mp4\n")
    told = adopt(clips, "rows.jsonl", more=("--done", "clips.done"))
    assert (told["items"]["adopted"], told["rows"]) == (2, 6)
    assert told["not_taken"]["differing"]["first"] == ["c3.mp4"]
    finish(clips, [f"c{number}.mp4" for number in range(CLIPS) if number not in (2, 4)])
    frames = {(row["key"], row["frame"]) for row in clips.rows()}
    expected = {(f"c{n}.mp4", frame) for n in range(CLIPS) for frame in range(n)}
    assert frames == expected
    assert len(clips.rows()) == len(expected)


def test_rows_that_fail_a_check_are_computed(clips: Any) -> None:
    text = (clips.path / "job.py").read_text()
    check = ".check(is_small).write_parquet"
    text = text.replace(".write_parquet", check).replace(
        "pipeline =",
        "def is_small(row):\n    return row['frames'] < 20 or 'too many'\n\npipeline =",
    )
    (clips.path / "job.py").write_text(text)
    rows = [row_of(number) for number in EVEN]
    rows[1]["frames"] = 100
    (clips.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = adopt(clips, "rows.jsonl")
    assert told["not_taken"]["misfits"]["why"] == "the check is_small says no: too many"
    finish(clips, sorted([*ODD, "c2.mp4"]))


def test_a_table_gets_the_adopted_rows_too(clips: Any) -> None:
    import sqlite3

    text = (clips.path / "job.py").read_text()
    more = '.write_parquet("out/").write_sqlite("out.db", table="rows")'
    (clips.path / "job.py").write_text(text.replace('.write_parquet("out/")', more))
    lines = [json.dumps(row_of(number)) + "\n" for number in EVEN]
    (clips.path / "rows.jsonl").write_text("".join(lines))
    assert adopt(clips, "rows.jsonl")["destinations"][0]["rows"] == 5
    finish(clips, ODD)
    with sqlite3.connect(clips.path / "out.db") as database:
        assert database.execute("select count(*) from rows").fetchone() == (CLIPS,)


def test_an_item_that_changed_while_a_table_has_its_rows_is_refused(clips: Any) -> None:
    text = (clips.path / "job.py").read_text()
    more = '.write_parquet("out/").write_sqlite("out.db", table="rows")'
    (clips.path / "job.py").write_text(text.replace('.write_parquet("out/")', more))
    lines = [json.dumps(row_of(number)) + "\n" for number in EVEN]
    (clips.path / "rows.jsonl").write_text("".join(lines))
    adopt(clips, "rows.jsonl")
    # It is the fifth item of the plan, and the only one of the second batch.
    (clips.path / "clips" / "c8.mp4").write_bytes(bytes(50))
    words = ("adopt", "rows.jsonl", "--key", "clip", "--into", "out", "--job", "job.py")
    refused = clips.batten(*words)
    assert refused.code != 0
    assert "Items have changed or gone" in refused.err


def test_a_changed_item_is_computed_and_no_longer_adopted(clips: Any) -> None:
    lines = [json.dumps(row_of(number)) + "\n" for number in EVEN]
    (clips.path / "rows.jsonl").write_text("".join(lines))
    adopt(clips, "rows.jsonl")
    (clips.path / "clips" / "c2.mp4").write_bytes(bytes(50))
    ran = clips.run("--json")
    assert ran.code == 0, ran.err
    assert (ran.json["changed_items"], ran.json["items"]["adopted"]) == (1, 4)
    assert sorted(clips.calls()) == sorted([*ODD, "c2.mp4"])
    assert {row["key"]: row["frames"] for row in clips.rows()}["c2.mp4"] == 50
    assert clips.batten("verify", "out").code == 0


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"clip,frames,frames", "its header names 'frames' more than once"),
        ("clip,n\xe4me".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_header_that_leaves_columns_open_is_refused(clips: Any, header: bytes, told: str) -> None:
    (clips.path / "rows.csv").write_bytes(header + b"\nc1.mp4,1,2\n")
    words = ["adopt", "rows.csv", "--key", "clip", "--into", "out", "--job", "job.py"]
    refused = clips.batten(*words)
    assert (refused.code, told in refused.err) == (2, True), refused.err
    assert not (clips.path / "out.batten").exists()


def test_a_mark_of_byte_order_is_no_part_of_the_rows(clips: Any) -> None:
    mark = b"\xef\xbb\xbf"
    (clips.path / "a.csv").write_bytes(mark + b"clip,frames,name\nc0.mp4,0,c0\n")
    (clips.path / "b.jsonl").write_bytes(mark + json.dumps(row_of(2)).encode() + b"\n")
    (clips.path / "c.json").write_bytes(mark + json.dumps([row_of(4)]).encode())
    told = adopt(clips, "a.csv", "b.jsonl", "c.json")
    assert (told["items"]["adopted"], told["not_taken"]) == (3, {})
