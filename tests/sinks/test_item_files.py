"""Files as outputs: one or more of each item, whole or absent, and all in the accounts."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.conftest import Ended, JobFolder

import batten
from batten.cli.main import main
from batten.ledger.facts.observe import observe_output
from batten.ledger.facts.placed_files import look_at_files
from batten.model.disk.names import Layout
from batten.storage.local.folder import LocalStorage

DOUBLED = """
    def double(path):
        with open("calls", "a") as calls:
            print(path.name, file=calls)
        return path.read_bytes() * 2

    pipeline = (
        batten.from_files("texts/*.txt", removed="drop").map(double)
        .options(batch_size=3).write_files("copies/{stem}.bin")
    )
"""
FILES = 7


class Here(JobFolder):
    """A job folder whose commands are run in this process, which is quicker."""

    capture: pytest.CaptureFixture[str]

    def batten(self, *words: str, cwd: Path | None = None, **env: str) -> Ended:
        code = main(list(words))
        told = self.capture.readouterr()
        return Ended(code, told.out, told.err)

    def run(self, *words: str, job: str = "job.py", cwd: Path | None = None, **env: str) -> Ended:
        return self.batten("run", job, "--jobs", "1", *words)


@pytest.fixture
def job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> JobFolder:
    monkeypatch.chdir(tmp_path)
    here = Here(tmp_path)
    here.capture = capsys
    return here


@pytest.fixture
def texts(job: JobFolder) -> JobFolder:
    (job.path / "texts").mkdir()
    for number in range(FILES):
        (job.path / "texts" / f"{number}.txt").write_text(f"text {number}")
    return job.write(DOUBLED)


def read_files(job: JobFolder, output: str = "copies") -> dict[str, bytes]:
    folder = job.path / output
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def list_control(job: JobFolder, folder: str, output: str = "copies") -> list[str]:
    return sorted(path.name for path in (job.path / f"{output}.batten" / folder).iterdir())


def read_rows(job: JobFolder, output: str = "copies") -> list[dict[str, Any]]:
    return job.rows(f"{output}.batten/parts")


def wanted(numbers: list[int]) -> dict[str, bytes]:
    return {f"{number}.bin": f"text {number}".encode() * 2 for number in numbers}


def test_each_file_is_there_and_in_the_accounts(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    assert read_files(texts) == wanted(list(range(FILES)))
    data = b"text 1text 1"
    assert read_rows(texts)[1] == {
        "key": "1.txt",
        "file": "1.bin",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    for folder in ("made", "staging", "staged"):
        assert list_control(texts, folder) == []
    diagnosis = texts.batten("diagnose", "copies", "--json").json
    assert (diagnosis["state"], diagnosis["items"]["committed"]) == ("COMPLETE", FILES)
    assert texts.batten("verify", "copies").code == 0
    assert texts.run("--quiet").code == 0
    assert len(texts.calls()) == FILES


def test_the_room_that_is_needed_is_that_of_the_files(
    texts: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(texts.path)
    fields = list(status)
    fields[4] = 50_000_000 // status.f_frsize
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    texts.write("""
        pipeline = (
            batten.from_range(200).map(lambda number: bytes(1 << 20))
            .options(batch_size=2).write_files("copies/{key}.bin")
        )
    """)
    ended = texts.run("--quiet")
    assert ended.code == 7, ended.err
    assert "disk" in ended.err
    assert len(read_files(texts)) < 20


def test_a_file_is_stored_once(texts: JobFolder) -> None:
    texts.run("--quiet")
    sizes = [path.stat().st_nlink for path in (texts.path / "copies").iterdir()]
    assert sizes == [1] * FILES


MAKERS = {
    "bytes": "def make(path):\n    return path.read_bytes() * 2",
    "memory": "def make(path):\n    return memoryview(bytearray(path.read_bytes() * 2))",
    "stream": """def make(path):
    yield path.read_bytes()
    yield path.read_bytes()""",
    "open file": """import io
def make(path):
    return io.BytesIO(path.read_bytes() * 2)""",
    "path": """def make(path, folder):
    made = folder / "made"
    made.write_bytes(path.read_bytes() * 2)
    return made""",
    "text of a path": """def make(path, folder):
    (folder / "within").mkdir()
    (folder / "within" / "made").write_bytes(path.read_bytes() * 2)
    return str(folder / "within" / "made")""",
    "class": """class make:
    def __call__(self, path, folder):
        (folder / "made").write_bytes(path.read_bytes() * 2)
        return folder / "made\"""",
    "awaited": """async def make(path):
    return path.read_bytes() * 2""",
    "awaited path": """async def make(path, folder):
    (folder / "made").write_bytes(path.read_bytes() * 2)
    return folder / "made\"""",
    "awaited stream": """async def make(path):
    yield path.read_bytes()
    yield path.read_bytes()""",
}


@pytest.mark.parametrize("kind", MAKERS)
def test_whatever_a_function_returns(texts: JobFolder, kind: str) -> None:
    texts.write(
        MAKERS[kind]
        + '\n\npipeline = batten.from_files("texts/*.txt").map(make)'
        + '.write_files("copies/{stem}.bin")\n'
    )
    ended = texts.run("--quiet")
    assert ended.code == 0, ended.err
    assert read_files(texts) == wanted(list(range(FILES)))
    assert list_control(texts, "staging") == list_control(texts, "made") == []


def make_two(path: Path, folder: Path) -> dict[str, bytes | Path]:
    (folder / "large").write_bytes(path.read_bytes() * 3)
    return {"small": path.read_bytes(), "of/large": folder / "large"}


@pytest.mark.parametrize("executor", ["processes", "threads", "serial"])
def test_several_of_an_item_by_name(texts: JobFolder, executor: Any) -> None:
    pipeline = batten.from_files("texts/*.txt").map(make_two)
    pipeline = pipeline.write_files("copies/{stem}/{name}.bin")
    assert pipeline.run(jobs=2, executor=executor).status == "complete"
    made = read_files(texts)
    assert len(made) == 2 * FILES
    assert made["3/small.bin"] == b"text 3"
    assert made["3/of/large.bin"] == b"text 3" * 3
    assert [row["key"] for row in read_rows(texts)][:2] == ["0.txt", "0.txt"]


def test_other_sinks_get_a_row_for_each_file(texts: JobFolder) -> None:
    text = DOUBLED.replace('bin")', 'bin").write_csv("files.csv")')
    assert texts.write(text).run("--quiet").code == 0
    lines = (texts.path / "files.csv").read_text().splitlines()
    assert lines[0] == '"key","file","bytes","sha256"'
    assert len(lines) == FILES + 1


BAD = {
    "none": ("return None", "no file"),
    "a number": ("return 5", "no file"),
    "a text in a stream": ('return iter(["a"])', "a str where bytes should be"),
    "another folder": ("return path", "in no folder that it was given"),
    "a path that is not there": ('return folder / "nothing"', "no file is there"),
    "a link": (
        '(folder / "l").symlink_to(path.resolve()); return folder / "l"',
        "a symbolic link is there",
    ),
    "a pipe": (
        'import os; os.mkfifo(folder / "p"); return folder / "p"',
        "a pipe, a socket or a device is there",
    ),
    "a folder": ("return folder / '..' / folder.name", "in no folder"),
    "a dict": ('return {"a": b""}', "takes one file"),
    "a stream that fails": ("return (1 // 0 for _ in range(2))", "ZeroDivisionError"),
    "a stream with an error of the system": (
        "return (open('/nowhere/at/all') for _ in range(2))",
        "FileNotFoundError",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_file_is_an_item_s_failure(texts: JobFolder, what: str) -> None:
    body, told = BAD[what]
    texts.write(f"""
        def make(path, folder):
            if path.name == "2.txt":
                {body}
            return path.read_bytes() * 2

        pipeline = batten.from_files("texts/*.txt").map(make).write_files("copies/{{stem}}.bin")
    """)
    assert texts.run("--quiet").code == 3
    failed = texts.quarantined("copies")["2.txt"]
    assert told in failed[0]
    # Where a class of batten's lies is no business of who reads it.
    (kept,) = batten.open(texts.path / "copies").quarantined()
    for line in f"{failed[0]}\n{kept.traceback}".splitlines():
        assert "batten." not in line.partition(":")[0], line
    assert read_files(texts) == wanted([0, 1, 3, 4, 5, 6])
    assert list_control(texts, "staging") == list_control(texts, "made") == []


NAMES = {
    "/etc/passwd": "is absolute",
    "../above": "leads out",
    "a/../../above": "leads out",
    "a//b": "names nothing",
    "./a": "names nothing",
    "a/.": "names nothing",
    "zero\0byte": "zero byte",
    "long" * 64: "more than 255",
    "/".join(["deep"] * 1000): "longer than",
}


def test_an_item_with_a_bad_name_is_set_aside_and_blocks_no_other(job: JobFolder) -> None:
    good = [
        "plain",
        "with space",
        "ümlaut",
        "-dash",
        "a\nline",
        ".hidden",
        "in/folders/too",
        "a:b*?",
    ]
    keys = [*NAMES, *good]
    job.write(f"""
        keys = {keys!r}
        pipeline = (
            batten.from_items([{{"key": key}} for key in keys], key="key")
            .map(lambda item: item["key"].encode())
            .options(batch_size=4, stop_when=None)
            .write_files("out/{{key}}")
        )
    """)
    ended = job.run("--quiet")
    assert ended.code == 3, ended.err
    quarantined = job.quarantined()
    assert quarantined.keys() == NAMES.keys()
    for key, told in NAMES.items():
        assert told in quarantined[key][0], key
    assert read_files(job, "out") == {key: key.encode() for key in good}
    assert job.batten("verify", "out").code == 0


CLASHES = [
    ["a.txt", "a.png", "b.txt"],
    ["b.txt", "a.txt", "c.txt", "d.txt", "a.png"],
]


@pytest.mark.parametrize("keys", CLASHES)
def test_the_second_item_of_a_name_is_set_aside(job: JobFolder, keys: list[str]) -> None:
    write_keys(job, keys, "out/{stem}.bin")
    assert job.run("--quiet").code == 3
    assert list(job.quarantined()) == ["a.png"]
    assert "another item has a file that is called 'a.bin'" in job.quarantined()["a.png"][0]
    assert read_files(job, "out")["a.bin"] == b"a.txt"
    assert job.batten("diagnose", "out").code == 0
    assert job.run("--quiet", "--retry-quarantined").code == 3
    assert read_files(job, "out")["a.bin"] == b"a.txt"


@pytest.mark.parametrize(
    ("keys", "failing"), [(["a", "a/b", "c"], "a/b"), (["a/b", "c", "a"], "a")]
)
def test_a_file_where_a_folder_should_be(job: JobFolder, keys: list[str], failing: str) -> None:
    for batch_size in (1, 10):
        output = f"out{batch_size}"
        write_keys(job, keys, f"{output}/{{key}}", batch_size)
        assert job.run("--quiet").code == 3
        assert list(job.quarantined(output)) == [failing]
        assert len(read_files(job, output)) == 2
        assert job.batten("verify", output).code == 0


def write_keys(job: JobFolder, keys: list[str], pattern: str, batch_size: int = 2) -> None:
    job.write(f"""
        pipeline = (
            batten.from_items([{{"key": key}} for key in {keys!r}], key="key")
            .map(lambda item: item["key"].encode())
            .options(batch_size={batch_size}, stop_when=None)
            .write_files("{pattern}")
        )
    """)


def test_names_that_differ_by_case_alone_are_two_where_the_filesystem_says_so(
    job: JobFolder,
) -> None:
    write_keys(job, ["a", "A", "b", "B"], "out/{key}")
    assert job.run("--quiet").code == 0
    assert read_files(job, "out") == {key: key.encode() for key in "aAbB"}


def test_a_link_that_somebody_put_there_is_not_followed(job: JobFolder, tmp_path: Path) -> None:
    write_keys(job, ["x", "y"], "out/{key}")
    assert job.run("--quiet").code == 0
    other = tmp_path / "elsewhere"
    other.mkdir()
    (job.path / "out" / "sub").symlink_to(other)
    write_keys(job, ["x", "y", "sub/z", "w"], "out/{key}")
    ended = job.run("--quiet", "--accept-change")
    assert list(other.iterdir()) == [], ended.err


def test_files_of_others_are_never_replaced(texts: JobFolder) -> None:
    (texts.path / "copies").mkdir()
    (texts.path / "copies" / "3.bin").write_text("mine")
    ended = texts.run("--quiet")
    assert ended.code == 5
    assert "batten did not make" in ended.told[0]
    assert read_files(texts) == {"3.bin": b"mine"}
    assert not (texts.path / "copies.batten").exists()


def test_a_file_that_appears_in_an_item_s_place_is_not_replaced(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    (texts.path / "copies" / "more.bin").write_text("mine")
    (texts.path / "texts" / "more.txt").write_text("more")
    ended = texts.run("--quiet")
    assert ended.code == 4, ended.err
    assert "it is no item's" in ended.err
    assert (texts.path / "copies" / "more.bin").read_text() == "mine"


def test_what_is_missing_changed_and_foreign_is_named(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    copies = texts.path / "copies"
    (copies / "0.bin").unlink()
    (copies / "1.bin").write_text("longer than it was")
    (copies / "2.bin").write_bytes(b"X" * 12)
    (copies / "notes.bin").write_text("mine")
    (copies / "README").write_text("mine")
    found = texts.batten("diagnose", "copies", "--json").json
    assert found["state"] == "CORRUPT"
    told = {each["path"]: each["code"] for each in found["findings"]}
    assert told == {
        "copies/0.bin": "lost-item-file",
        "copies/1.bin": "changed-item-file",
        "copies/notes.bin": "stray-file",
        "copies/README": "foreign-file",
    }
    verified = texts.batten("verify", "copies", "--json")
    assert verified.code == 4
    told = {each["path"]: each["code"] for each in verified.json["findings"]}
    assert told["copies/2.bin"] == "changed-item-file"
    assert told["copies/0.bin"] == "lost-item-file"
    assert texts.run("--quiet").code == 4


def test_only_items_that_lack_a_file_are_computed_again(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    copies = texts.path / "copies"
    (copies / "0.bin").unlink()
    (copies / "5.bin").write_bytes(b"X" * 12)
    called = len(texts.calls())
    assert texts.batten("recover", "copies", "--recompute-missing").code == 0
    assert texts.run("--quiet").code == 0
    assert sorted(texts.calls()[called:]) == ["0.txt", "5.txt"]
    assert read_files(texts) == wanted(list(range(FILES)))
    assert texts.batten("verify", "copies").code == 0
    kept = [name for name in list_control(texts, "set-aside") if "5.bin" in name]
    assert len(kept) == 1


def test_another_file_of_the_same_item_is_recorded_when_it_is_made_again(job: JobFolder) -> None:
    job.write("""
        import os

        pipeline = batten.from_range(3).map(lambda n: os.urandom(8)).write_files("out/{key}.bin")
    """)
    assert job.run("--quiet").code == 0
    before = read_files(job, "out")
    (job.path / "out" / "1.bin").unlink()
    job.batten("recover", "out", "--recompute-missing")
    assert job.run("--quiet").code == 0
    after = read_files(job, "out")
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["1.bin"]
    assert job.batten("verify", "out").code == 0


def test_files_follow_their_items(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    called = len(texts.calls())
    (texts.path / "texts" / "1.txt").write_text("another")
    (texts.path / "texts" / "4.txt").unlink()
    (texts.path / "texts" / "new.txt").write_text("new")
    ended = texts.run("--quiet", "--json")
    assert ended.code == 0, ended.err
    assert (ended.json["changed_items"], ended.json["removed_items"]) == (1, 1)
    assert sorted(texts.calls()[called:]) == ["1.txt", "new.txt"]
    expected = wanted([0, 2, 3, 5, 6])
    assert read_files(texts) == expected | {"1.bin": b"anotheranother", "new.bin": b"newnew"}
    assert texts.batten("verify", "copies").code == 0


def test_a_changed_file_is_kept_when_its_item_goes(texts: JobFolder) -> None:
    """Whoever changed it after the look may want it."""
    text = DOUBLED.replace('removed="drop"', 'removed="drop", changed="ignore"')
    assert texts.write(text).run("--quiet").code == 0
    (texts.path / "texts" / "4.txt").unlink()
    kept = texts.path / "copies" / "4.bin"
    kept.write_bytes(b"X" * 12)
    ended = texts.run("--quiet")
    assert ended.code == 4
    assert "copies/4.bin: it is no item's" in ended.err
    assert read_files(texts)["4.bin"] == b"X" * 12
    kept.unlink()
    assert texts.run("--quiet").code == 0


def test_empty_folders_go_with_their_files(texts: JobFolder) -> None:
    text = DOUBLED.replace("{stem}.bin", "{stem}/deep/copy.bin")
    assert texts.write(text).run("--quiet").code == 0
    (texts.path / "texts" / "4.txt").unlink()
    assert texts.run("--quiet").code == 0
    assert not (texts.path / "copies" / "4").exists()
    assert (texts.path / "copies" / "5" / "deep" / "copy.bin").exists()


def test_another_format_replaces_the_files_when_it_is_begun_anew(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    text = DOUBLED.replace("* 2", "* 3").replace("size=3", "size=2")
    other = texts.write(text.replace("{stem}.bin", "{stem}.big"))
    refused = other.run("--quiet")
    assert refused.code == 5
    assert read_files(texts) == wanted(list(range(FILES)))
    assert other.run("--quiet", "--fresh").code == 0
    assert read_files(texts) == {f"{n}.big": f"text {n}".encode() * 3 for n in range(FILES)}
    assert texts.batten("verify", "copies").code == 0
    assert list_control(texts, "made") == []


def test_other_contents_of_the_same_names_replace_the_files(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    text = DOUBLED.replace("* 2", "* 3").replace("size=3", "size=2")
    (texts.path / "texts" / "6.txt").unlink()
    assert texts.write(text).run("--quiet", "--fresh").code == 0
    assert read_files(texts) == {f"{n}.bin": f"text {n}".encode() * 3 for n in range(FILES - 1)}
    assert texts.batten("verify", "copies").code == 0


def test_a_lost_record_of_places_is_made_anew(texts: JobFolder) -> None:
    assert texts.run("--quiet").code == 0
    (texts.path / "copies.batten" / "files" / "000001.json").unlink()
    assert texts.batten("diagnose", "copies", "--json").json["state"] == "INTERRUPTED"
    called = len(texts.calls())
    assert texts.run("--quiet").code == 0
    assert len(texts.calls()) == called
    assert texts.batten("verify", "copies").code == 0


@pytest.mark.parametrize(
    "text", ["", "{}", '{"batch": 1, "content": "", "files": {"../x": "1 a"}}']
)
def test_a_damaged_record_of_places_is_told(texts: JobFolder, text: str) -> None:
    assert texts.run("--quiet").code == 0
    record = texts.path / "copies.batten" / "files" / "000001.json"
    record.write_text(text)
    found = texts.batten("diagnose", "copies", "--json").json
    assert found["state"] == "CORRUPT"
    assert "unreadable-files-record" in {each["code"] for each in found["findings"]}
    assert texts.run("--quiet").code == 4
    record.unlink()
    assert texts.run("--quiet").code == 0


def test_what_is_kept_in_a_cache_is_files_too(texts: JobFolder) -> None:
    text = DOUBLED.replace("map(double)", 'map(double, cache="kept")')
    text = text.replace("def double(path):", "def double(path, folder):").replace(
        "return path.read_bytes() * 2",
        '(folder / "made").write_bytes(path.read_bytes() * 2)\n        return folder / "made"',
    )
    assert texts.write(text).run("--quiet").code == 0
    assert read_files(texts) == wanted(list(range(FILES)))
    called = len(texts.calls())
    again = texts.write(text.replace("copies/", "others/"))
    assert again.run("--quiet").code == 0
    assert read_files(texts, "others") == wanted(list(range(FILES)))
    assert len(texts.calls()) == called == FILES


def test_any_number_of_files_by_flat_map(texts: JobFolder) -> None:
    texts.write("""
        def make(path):
            yield {"first": path.read_bytes()}
            yield {"second": iter([b"2", path.read_bytes()])}

        pipeline = (
            batten.from_files("texts/*.txt").flat_map(make).write_files("copies/{stem}/{name}")
        )
    """)
    assert texts.run("--quiet").code == 0
    assert len(read_files(texts)) == 2 * FILES
    assert read_files(texts)["3/second"] == b"2text 3"


def test_a_path_by_another_way_to_the_same_folder(texts: JobFolder) -> None:
    (texts.path / "other").symlink_to(texts.path)
    texts.write("""
        from pathlib import Path

        def make(path, folder):
            (folder / "made").write_bytes(path.read_bytes() * 2)
            return (folder / "made").resolve()

        pipeline = (
            batten.from_files("texts/*.txt").map(make)
            .write_files(str(Path("other/copies").absolute()) + "/{stem}.bin")
        )
    """)
    assert texts.run("--quiet").code == 0
    assert read_files(texts) == wanted(list(range(FILES)))


def test_a_stream_that_fails_is_tried_again(texts: JobFolder) -> None:
    texts.write("""
        from pathlib import Path

        def make(path):
            yield path.read_bytes()
            if not Path("tried").exists():
                Path("tried").touch()
                raise OSError("the connection was cut")
            yield path.read_bytes()

        pipeline = (
            batten.from_files("texts/*.txt").map(make, retries=1).write_files("copies/{stem}.bin")
        )
    """)
    assert texts.run("--quiet").code == 0
    assert read_files(texts) == wanted(list(range(FILES)))
    assert list_control(texts, "made") == list_control(texts, "staging") == []


REFUSED = {
    '.map(lambda p, folder: p, cache=True).map(len).write_files("out/{key}")': "cache=",
    '.map(len).write_files("{key}.png")': "where the file of each item goes",
    '.map(len).write_files("out/same.png")': "where the file of each item goes",
    '.write_files("out/{key}")': "No function makes a file",
    '.map(len).write_csv("a.csv").write_files("out/{key}")': "after another sink",
    '.map(len).write_files("out/{key}").write_files("two/{key}")': "after another sink",
    '.map_batches(len).write_files("out/{key}")': "map_batches",
    '.map(len).options(schema={"a": "int64"}).write_files("out/{key}")': "schema=",
    '.map(len).write_files("out/{key}").write_csv("out/index.csv")': "lies in out",
    '.map(len).write_files("out/{run_date}/{key}")': "run_date",
}


@pytest.mark.parametrize("steps", REFUSED)
def test_what_can_not_be_is_refused_before_anything(texts: JobFolder, steps: str) -> None:
    texts.write(f'pipeline = batten.from_files("texts/*.txt"){steps}')
    ended = texts.run("--quiet")
    assert ended.code in (2, 5), ended.err
    assert REFUSED[steps] in ended.err
    assert not (texts.path / "out").exists()


def test_a_parameter_in_a_pattern(texts: JobFolder) -> None:
    texts.write("""
        def pipeline(size: int):
            return (
                batten.from_files("texts/*.txt").map(lambda path: path.read_bytes() * size)
                .write_files("copies_{size}/{stem}-{size}.bin")
            )
    """)
    assert texts.run("--quiet", "--param", "size=2").code == 0
    assert texts.run("--quiet", "--param", "size=3").code == 0
    assert read_files(texts, "copies_3")["1-3.bin"] == b"text 1" * 3
    assert read_files(texts, "copies_2")["1-2.bin"] == b"text 1" * 2


def test_a_stream_is_never_in_memory_as_a_whole(job: JobFolder) -> None:
    megabytes = 400
    job.write(f"""
        def stream(number):
            for _ in range({megabytes}):
                yield bytes(1 << 20)

        pipeline = batten.from_range(1).map(stream).write_files("out/{{key}}")
    """)
    ended = JobFolder(job.path).run("--quiet", "--memory-max", "250M")
    assert ended.code == 0, ended.err
    assert (job.path / "out" / "0").stat().st_size == megabytes << 20


def test_a_killed_run_goes_on_and_leaves_nothing(texts: JobFolder) -> None:
    text = DOUBLED.replace(
        "return path.read_bytes() * 2",
        'if path.name == "4.txt" and not os.path.exists("died"):\n'
        '            open("died", "w").close()\n'
        "            os.kill(os.getppid(), 9)\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return path.read_bytes() * 2",
    ).replace("def double", "import os\n    def double")
    texts.write(text)
    JobFolder(texts.path).run("--quiet", "--jobs", "1")
    assert (texts.path / "died").exists()
    for path in (texts.path / "copies").iterdir():
        assert path.read_bytes() == wanted([int(path.stem)])[path.name]
    assert texts.run("--quiet").code == 0
    assert read_files(texts) == wanted(list(range(FILES)))
    assert list_control(texts, "staging") == list_control(texts, "made") == []
    assert texts.batten("verify", "copies").code == 0


def test_json_of_a_record_names_sizes_and_digests(texts: JobFolder) -> None:
    texts.run("--quiet")
    record = json.loads((texts.path / "copies.batten" / "files" / "000000.json").read_text())
    data = (texts.path / "copies" / "0.bin").read_bytes()
    assert record["files"]["0.bin"] == f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    assert (
        len(record["files"])
        == pq.read_table(texts.path / "copies.batten" / "parts" / "part-000000.parquet").num_rows
    )


def test_files_have_no_columns_to_add(texts: JobFolder) -> None:
    assert texts.run().code == 0
    refused = texts.run("--accept-change", "--add-columns")
    assert refused.code == 0, refused.err
    texts.write(DOUBLED.replace("* 2", "* 3"))
    refused = texts.run("--accept-change", "--add-columns")
    assert refused.code == 5
    assert "has no way to be given columns" in refused.err
    assert texts.batten("verify", "copies").code == 0


MANY = """
    def make(number):
        return b"x"

    def pipeline(files: int):
        made = batten.from_range(files).map(make).options(batch_size=50)
        return made.write_files("many/{key}.bin")
"""


def _look(job: JobFolder) -> int:
    """The most bytes of Python objects that a look at all files takes."""
    place = LocalStorage(job.path)
    observation = observe_output(place, Layout("many"))
    current = {batch: str(claim.digest) for batch, claim in observation.claims.items()}
    tracemalloc.start()
    found = list(
        look_at_files(
            place, Layout("many"), observation.config, list(observation.deliveries), current
        )
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == []
    return peak


def test_memory_does_not_grow_with_the_files(job: JobFolder) -> None:
    job.write(MANY)
    assert job.run("--param", "files=100").code == 0
    few = _look(job)
    assert job.run("--param", "files=1000", "--accept-change").code == 0
    # What is kept of a file, its name and its digest, would take several hundred bytes.
    assert (_look(job) - few) / 900 < 100


def test_one_foreign_file_among_many_is_found(job: JobFolder) -> None:
    job.write(MANY)
    assert job.run("--param", "files=200").code == 0
    (job.path / "many/else.txt").write_text("else")
    (job.path / "many/deep").mkdir()
    (job.path / "many/deep/7.bin").write_text("x")
    told = json.loads(job.batten("diagnose", "many", "--json").out)
    paths = {each["path"] for each in told["findings"]}
    assert paths == {"many/else.txt", "many/deep/7.bin"}
