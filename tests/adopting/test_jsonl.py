"""JSON Lines of a hand-made job: what is finished is adopted, and only the rest is computed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import pyarrow.parquet as pq
import pytest

CLIPS = 10
EVEN, ODD = range(0, CLIPS, 2), range(1, CLIPS, 2)
ADOPT = ("adopt", "rows.jsonl", "--key", "clip", "--into", "out", "--job", "job.py")


KeyedRow = dict[str, Any]


def row_of(number: int, **more: Any) -> KeyedRow:
    return {"clip": f"c{number}.mp4", "frames": number, "name": f"c{number}", **more}


def lines_of(rows: Iterable[KeyedRow]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def hashed(job: Any) -> Any:
    return {name: found for name, found in job.snapshot().items() if name == "rows.jsonl"}


def test_only_the_rest_is_computed(clips: Any) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    before = hashed(clips)
    adopted = clips.batten(*ADOPT, "--json")
    assert adopted.code == 0, adopted.err
    told = adopted.json
    assert (told["status"], told["executed_items"], told["adopted_items"]) == ("adopted", 0, 5)
    assert (told["items"]["committed"], told["items"]["adopted"], told["items"]["pending"]) == (
        5,
        5,
        5,
    )
    assert told["not_taken"] == {}
    assert clips.calls() == []
    assert hashed(clips) == before

    diagnosed = clips.batten("diagnose", "out", "--json").json
    assert (diagnosed["state"], diagnosed["next"]) == ("INTERRUPTED", "batten run job.py")
    ran = clips.run("--json", "--jobs", "1")
    assert ran.code == 0, ran.err
    assert ran.json["executed_items"] == 5
    assert sorted(clips.calls()) == [f"c{number}.mp4" for number in ODD]
    rows = {row["key"]: (row["frames"], row["name"]) for row in clips.rows()}
    assert rows == {f"c{number}.mp4": (number, f"c{number}") for number in range(CLIPS)}
    verified = clips.batten("verify", "out")
    assert verified.code == 0, verified.out
    assert "5 adopted, 5 computed" in verified.out
    assert clips.run("--json").json["status"] == "nothing-to-do"


def test_what_is_no_finished_row_is_told_and_computed(clips: Any) -> None:
    rows = [
        *map(row_of, EVEN),
        row_of(0),  # twice the same
        row_of(1),
        row_of(1, name="other"),  # twice, and not the same
        {"clip": "c3.mp4", "error": "out of memory"},
        {"clip": "gone.mp4", "frames": 3, "name": "gone"},
        {"frames": 3, "name": "nameless"},
    ]
    text = lines_of(rows)
    (clips.path / "rows.jsonl").write_text(text + "no JSON\n" + '{"clip": "c5.mp4", "fra')
    adopted = clips.batten(*ADOPT, "--json")
    assert adopted.code == 0, adopted.err
    told = adopted.json["not_taken"]
    counts = {kind: (each["count"], each["first"]) for kind, each in told.items()}
    assert counts == {
        "doubled": (1, ["c0.mp4"]),
        "differing": (1, ["c1.mp4"]),
        "misfits": (1, ["c3.mp4"]),
        "unknown": (1, ["gone.mp4"]),
        "without_key": (1, ["rows.jsonl:11"]),
        "malformed_lines": (1, ["rows.jsonl:12"]),
        "torn_lines": (1, ["rows.jsonl:13"]),
    }
    assert clips.run().code == 0
    assert sorted(clips.calls()) == [f"c{number}.mp4" for number in ODD]
    shown = clips.batten(*ADOPT)
    assert "1 unknown key: gone.mp4" in shown.err


def test_an_error_row_before_the_good_one_is_passed_over(clips: Any) -> None:
    bad = {"clip": "c2.mp4", "frames": None, "name": None, "error": "timed out"}
    (clips.path / "rows.jsonl").write_text(lines_of([bad, *map(row_of, range(CLIPS))]))
    assert clips.batten(*ADOPT, "--json").json["status"] == "complete"
    assert clips.batten("diagnose", "out").code == 0
    assert clips.run("--json").json["status"] == "nothing-to-do"
    assert pq.read_schema(clips.path / "out" / "part-000000.parquet").names == [
        "key",
        "frames",
        "name",
    ]


def test_adopted_twice_is_adopted_once(clips: Any) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    assert clips.batten(*ADOPT).code == 0
    parts, snapshot = clips.parts(), clips.snapshot()
    again = clips.batten(*ADOPT, "--json").json
    assert (again["status"], again["items"]["adopted"]) == ("adopted", 5)
    assert clips.parts() == parts
    kept = [name for name in snapshot if "/plan/" not in name and "dataset.json" not in name]
    assert {name: clips.snapshot()[name] for name in kept} == {n: snapshot[n] for n in kept}
    assert clips.run().code == 0
    after = clips.snapshot()
    assert clips.batten(*ADOPT, "--json").json["status"] == "nothing-to-do"
    assert clips.snapshot() == after


def test_more_rows_are_adopted_before_the_first_run(clips: Any) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    assert clips.batten(*ADOPT).code == 0
    with (clips.path / "rows.jsonl").open("a") as rows:
        rows.write(lines_of([row_of(1), row_of(3)]))
    assert clips.batten(*ADOPT, "--json").json["items"]["adopted"] == 7
    assert clips.run().code == 0
    assert sorted(clips.calls()) == ["c5.mp4", "c7.mp4", "c9.mp4"]


def test_nothing_is_adopted_beside_what_a_run_computed(clips: Any) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    assert clips.run("--limit", "2").code == 0
    before = clips.snapshot()
    refused = clips.batten(*ADOPT)
    assert refused.code == 5
    assert "c2.mp4 first" in refused.err or "c4.mp4 first" in refused.err
    assert "batten run job.py" in refused.err
    assert clips.snapshot() == before


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (("--into", "elsewhere"), 2, "The job does not write to elsewhere"),
        (("--key", "nothing"), 5, "None of the rows can be adopted"),
        (("--key", "name"), 5, "The source's first key is 'c0.mp4', the rows' first is 'c0'"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    clips: Any, change: tuple[str, str], code: int, told: str
) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    words = [*ADOPT]
    words[words.index(change[0]) + 1] = change[1]
    before = sorted(clips.path.rglob("*"))
    refused = clips.batten(*words)
    assert (refused.code, told in refused.err) == (code, True), refused.err
    assert sorted(path for path in clips.path.rglob("*") if "pycache" not in str(path)) == before
    assert len(refused.err.splitlines()) == 3
    assert clips.batten(*ADOPT).code == 0
    assert clips.run().code == 0
    assert sorted(clips.calls()) == [f"c{number}.mp4" for number in ODD]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["pipe"], 2, "pipe is no regular file."),
        (["rows.jsonl", "--done", "pipe"], 2, "pipe is no regular file."),
        (["rows.jsonl", "--done", "/dev/zero"], 2, "/dev/zero is no regular file."),
        (["rows.jsonl", "--done", "clips"], 2, "clips is a folder."),
        (["loop"], 7, "then run the same command again"),
    ],
)
def test_what_is_no_file_is_not_waited_for(
    clips: Any, words: list[str], code: int, told: str
) -> None:
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    os.mkfifo(clips.path / "pipe")
    (clips.path / "loop").symlink_to("loop")
    refused = clips.batten(ADOPT[0], *words, *ADOPT[2:])
    assert (refused.code, told in refused.err) == (code, True), refused.err
    assert not (clips.path / "out.batten").exists()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ('batten.from_range(9).map(str).write_parquet("out")', "a source without keys"),
        ('batten.from_files("clips/*").flat_map(list).write_parquet("out")', "--done FILE"),
        ('batten.from_files("clips/*").map(str).write_files("out/{key}")', "makes files"),
    ],
)
def test_a_job_whose_items_can_not_be_told_is_refused(clips: Any, program: str, told: str) -> None:
    clips.write(f"pipeline = {program}")
    (clips.path / "rows.jsonl").write_text(lines_of(map(row_of, EVEN)))
    refused = clips.batten(*ADOPT)
    assert (refused.code, told in refused.err) == (2, True), refused.err
    assert not (clips.path / "out.batten").exists()


@pytest.mark.parametrize("before", ["clips/", "./clips/", "HERE/clips/"])
def test_a_path_is_the_key_of_the_file_that_it_names(clips: Any, before: str) -> None:
    """Jobs by hand note the path as they open it, and the key is the path below the pattern."""
    start = before.replace("HERE", str(clips.path))
    rows = [{"clip": f"{start}c{n}.mp4", "frames": n, "name": f"c{n}"} for n in range(4)]
    (clips.path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (clips.path / "marks.done").write_text("".join(f"{row['clip']}\n" for row in rows[:3]))
    words = ("rows.jsonl", "--key", "clip", "--into", "out", "--job", "job.py")
    adopted = clips.batten("adopt", *words, "--done", "marks.done", "--json")
    assert adopted.code == 0, adopted.err
    assert adopted.json["items"]["committed"] == 3
    assert clips.run().code == 0
    assert len((clips.path / "calls").read_text().split()) == CLIPS - 3
    assert clips.batten("verify", "out").code == 0


def test_a_path_that_is_a_key_is_no_other(clips: Any) -> None:
    """Where the folder holds one of its own name, only keys as they are name its files."""
    (clips.path / "clips/clips").mkdir()
    (clips.path / "clips/clips/c0.mp4").write_bytes(b"inner")
    text = (clips.path / "job.py").read_text().replace("clips/*.mp4", "clips/**/*.mp4")
    (clips.path / "job.py").write_text(text)
    (clips.path / "rows.jsonl").write_text('{"clip": "clips/c0.mp4", "frames": 5, "name": "c0"}\n')
    words = ("rows.jsonl", "--key", "clip", "--into", "out", "--job", "job.py")
    assert clips.batten("adopt", *words).code == 0
    assert clips.run().code == 0
    calls = (clips.path / "calls").read_text().split()
    assert calls.count("c0.mp4") == 1, "the inner one was adopted, and the outer one computed"
