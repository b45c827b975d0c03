"""What can't be trusted is refused by every command, whatever the mode, and left as it is."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main
from batten.model.disk.records import open_record, seal_record

JOB = """
def scale(number):
    return {"value": number * 2}

pipeline = batten.from_range(10).map(scale).options(batch_size=4).write_parquet("out")
"""

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

Harm = Callable[[Path], object]

EXIT_DAMAGED = 4

COMMANDS = (
    ("run", "job.py"),
    ("run", "job.py", "--resume", "always"),
    ("run", "job.py", "--resume", "never"),
    ("run", "job.py", "--accept-change"),
    ("run", "job.py", "--retry-quarantined"),
    ("run", "job.py", "--dry-run"),
    ("diagnose", "out"),
    ("verify", "out"),
    ("verify", "out", "--quick"),
    ("recover", "out"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the job and its finished output."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "job.py").write_text("import batten\n" + JOB)
    path_before = list(sys.path)
    assert main(["run", str(folder / "job.py"), "--quiet", "--jobs", "1"]) == 0
    sys.path[:] = path_before
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, which is the working folder."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)
    path_before = list(sys.path)
    yield copy
    sys.path[:] = path_before


def write(data: bytes) -> Harm:
    return lambda folder: (folder / "out.batten/dataset.json").write_bytes(data)


def change(edit: Callable[[dict[str, Any]], object], name: str = "dataset.json") -> Harm:
    """Change a record so that its checksum fits."""

    def harm(folder: Path) -> None:
        path = folder / "out.batten" / name
        fields = json.loads(open_record(path.read_bytes()))
        edit(fields)
        path.write_bytes(seal_record(json.dumps(fields).encode()))

    return harm


def remove(*names: str) -> Harm:
    def harm(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return harm


def truncate(folder: Path) -> None:
    path = folder / "out.batten/dataset.json"
    path.write_bytes(path.read_bytes()[:100])


def copy(source: str, target: str, *removed: str) -> Harm:
    def harm(folder: Path) -> None:
        shutil.copy(folder / source, folder / target)
        remove(*removed)(folder)

    return harm


def plan(**fields: Any) -> Harm:
    return change(lambda record: record.update(fields), "plan/000000.json")


def make_folder(name: str, *removed: str) -> Harm:
    def harm(folder: Path) -> None:
        remove(*removed)(folder)
        (folder / name).unlink()
        (folder / name).mkdir()

    return harm


def make_file(name: str) -> Harm:
    def harm(folder: Path) -> None:
        shutil.rmtree(folder / name)
        (folder / name).write_bytes(b"")

    return harm


PART = "out/part-00000{}.parquet"
COMPLETE = "out.batten/COMPLETE"
COMMIT = "out.batten/commits/00000{}.json"

HARMS: dict[str, Harm] = {
    "dataset.json is empty": write(b""),
    "dataset.json is blank": write(b" \n"),
    "dataset.json is truncated": truncate,
    "dataset.json is a list": write(b"[]"),
    "dataset.json is null": write(b"null"),
    "dataset.json is a text": write(b'"oops"'),
    "dataset.json is an empty object": write(b"{}"),
    "dataset.json is not text": write(b"\xff\x00\xfe"),
    "dataset.json has no fingerprint": change(lambda record: record.pop("fingerprint")),
    "dataset.json has no batch size": change(lambda record: record.pop("batch_size")),
    "the fingerprint has no digest": change(lambda record: record["fingerprint"].pop("digest")),
    "the fingerprint is null": change(lambda record: record.update(fingerprint=None)),
    "the batch size is a text": change(lambda record: record.update(batch_size="4")),
    "the batch size is true": change(lambda record: record.update(batch_size=True)),
    "dataset.json is gone": remove("out.batten/dataset.json"),
    "dataset.json and COMPLETE are gone": remove("out.batten/dataset.json", COMPLETE),
    "a part in the middle is gone": remove(PART.format(1)),
    "a part in the middle is gone, unfinished": remove(PART.format(1), COMPLETE),
    "a part and its record are gone": remove(PART.format(1), COMMIT.format(1), COMPLETE),
    "the last part is gone": remove(PART.format(2)),
    "the last part is gone, unfinished": remove(PART.format(2), COMPLETE),
    "one part more": copy(PART.format(2), PART.format(3)),
    "one part more, unfinished": copy(PART.format(2), PART.format(3), COMPLETE),
    "the plan is gone": remove("out.batten/plan/000000.json"),
    "dataset.json is a folder": make_folder("out.batten/dataset.json"),
    "COMPLETE is a folder": make_folder(COMPLETE),
    "a record is a folder": make_folder(COMMIT.format(1), COMPLETE),
    "a part is a folder": make_folder(PART.format(1)),
    "the plan is a folder": make_folder("out.batten/plan/000000.json"),
    "the folder of plans is a file": make_file("out.batten/plan"),
    "the plan has fewer items": plan(items=8),
    "the plan has other batches": plan(batch_size=5),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=list(HARMS))
def test_every_command_refuses_and_changes_nothing(
    folder: Path,
    harm: Harm,
    tree_of: Callable[[Path], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(folder)
    before = tree_of(folder)
    for words in COMMANDS:
        assert main(list(words)) == EXIT_DAMAGED, words
        assert "Traceback" not in capsys.readouterr().err
        assert tree_of(folder) == before, words


@pytest.mark.parametrize("mode", ["fewer", "more"])
def test_from_outside(folder: Path, job: Folder, mode: str) -> None:
    """The finished command says the same, and what it says to run mends it."""
    job.path = folder
    whole = job.parts()
    if mode == "fewer":
        (folder / PART.format(1)).unlink()
        refused = job.run("--json")
        assert refused.json["missing"] == ["4", "5", "6", "7"]
        assert job.batten("recover", "--recompute-missing", "out").code == 0
    else:
        shutil.copy(folder / PART.format(0), folder / PART.format(3))
        refused = job.run("--json")
        assert refused.told[2].startswith("Move the file away; if it is this job's, restore")
        (folder / PART.format(3)).unlink()
    assert (refused.code, refused.json["status"]) == (EXIT_DAMAGED, "inconsistent")
    assert job.run().code == 0
    assert job.parts() == whole


@pytest.mark.parametrize("name", ["dataset.json", "plan/000000.json"])
def test_where_nothing_says_what_there_is_to_do_all_is_done_anew(
    folder: Path, job: Folder, name: str
) -> None:
    job.path = folder
    whole = job.parts()
    (folder / "out.batten" / name).unlink()
    assert "--fresh" in job.batten("verify", "out").out.splitlines()[-1]
    assert job.run("--fresh").code == 0
    assert job.batten("verify", "out").code == 0
    assert job.parts() == whole


@pytest.mark.parametrize("has_grown", [True, False])
@pytest.mark.parametrize("words", [("run", "job.py"), ("recover", "out")])
def test_the_columns_that_were_pinned_are_told_by_the_parts(
    folder: Path, job: Folder, has_grown: bool, words: tuple[str, ...]
) -> None:
    """Nothing is computed again, also where the source has grown, and the columns are the same."""
    job.path = folder
    schema = folder / "out.batten" / "schema.json"
    pinned, whole = schema.read_bytes(), job.parts()
    schema.unlink()
    verified = job.batten("verify", "out", "--json")
    assert verified.code == EXIT_DAMAGED
    assert verified.json["next"] == "have it made anew: batten recover out"
    assert batten.diagnose(folder / "out").state == "COMPLETE"
    if has_grown:
        text = (folder / "job.py").read_text()
        (folder / "job.py").write_text(text.replace("from_range(10)", "from_range(12)"))
    assert job.batten(*words).code == 0
    ended = job.run("--json")
    assert ended.code == 0
    assert ended.json["executed_items"] <= (2 if has_grown else 0)
    assert schema.read_bytes() == pinned
    assert {name: data for name, data in job.parts().items() if name in whole} == whole
    assert job.batten("verify", "out").code == 0


def test_a_newer_format_is_refused_by_every_mode(
    folder: Path, tree_of: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    change(lambda record: record.update(format_version=99))(folder)
    before = tree_of(folder)
    for words in (*COMMANDS, ("run", "job.py", "--fresh")):
        assert main(list(words)) == 5, words
        assert "format version 99" in "".join(capsys.readouterr())
        assert tree_of(folder) == before, words


SOURCES = {
    "fewer items": ("batten.from_range(9)", "The source has 9 items, but 10 are planned."),
    "keys instead of ordinals": (
        'batten.from_items([{"n": n} for n in range(10)], key="n")',
        "source: range → items",
    ),
}


@pytest.mark.parametrize(("source", "what"), SOURCES.values(), ids=list(SOURCES))
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_source_that_disagrees_with_the_plan(
    folder: Path,
    tree_of: Callable[[Path], object],
    capsys: pytest.CaptureFixture[str],
    source: str,
    what: str,
    is_complete: bool,
) -> None:
    if not is_complete:
        remove(COMPLETE, PART.format(2), COMMIT.format(2))(folder)
    (folder / "job.py").write_text("import batten\n" + JOB.replace("batten.from_range(10)", source))
    before = tree_of(folder)
    assert main(["run", "job.py"]) == 5
    assert what in capsys.readouterr().err
    changed = {name: data for name, data in tree_of(folder).items() if before.get(name) != data}
    assert all(name.startswith("out.batten/runs") for name in changed)


def test_keys_that_the_source_no_longer_has(tmp_path: Path) -> None:
    """Planned and not yet computed, they fail by name; what others took their places are new."""
    made = batten.from_jsonl(tmp_path / "rows.jsonl", key="id").map(lambda row: {"v": row["v"]})
    pipeline = made.options(batch_size=2).write_parquet(tmp_path / "out")
    write_rows(tmp_path, "abcdef")
    pipeline.run(executor="serial")
    remove(COMPLETE, PART.format(2), COMMIT.format(2))(tmp_path)
    write_rows(tmp_path, "xaybez")  # b stays, and e; of those that are to be computed, f is gone
    report = pipeline.run(executor="serial")
    assert (report.status, report.vanished_items, report.quarantined) == ("complete", 3, 1)
    opened = batten.open(tmp_path / "out")
    assert {row["key"]: row["v"] for row in opened} == {key: f"of {key}" for key in "abcdexyz"}
    assert [each.key for each in opened.quarantined()] == ["f"]


def write_rows(folder: Path, keys: str) -> None:
    rows = [{"id": key, "v": f"of {key}"} for key in keys]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
