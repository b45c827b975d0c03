"""A chain of three: shown from the last, run from the first, each by its recorded job."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batten.model.disk.looked import LookedUpstream
from batten.model.disk.records import decode_record, encode_record

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

FIRST = """
    def read(path):
        text = path.read_text()
        if text == "bad":
            raise ValueError(text)
        return {{"text": text}}

    pipeline = (
        batten.from_files("in/*.txt", removed="drop").map(read)
        .options(batch_size=2, stop_when=None).write_parquet("{output}")
    )
"""
SECOND = """
    import helper

    def shout(row):
        return {"text": helper.change(row["text"])}

    pipeline = batten.from_dataset("first/").map(shout).options(batch_size=2).write_parquet(
        "second/")
"""
THIRD = """
    import helper

    def end(row):
        return {"text": helper.change(row["text"])}

    def pipeline(mark: str = "m"):
        return batten.from_dataset("../two/second/").map(end).write_csv("third.csv")
"""


@pytest.fixture
def chain(job: Folder) -> Folder:
    """Two folders, in each of which a module has the same name. All is run once."""
    two, three = job.path / "two", job.path / "three"
    (two / "in").mkdir(parents=True)
    three.mkdir()
    for number in range(5):
        (two / "in" / f"{number}.txt").write_text(str(number))
    (two / "helper.py").write_text("def change(text):\n    return text.upper()\n")
    (three / "helper.py").write_text("def change(text):\n    return text + '!'\n")
    job.write(FIRST.format(output="first/"), "two/first.py")
    job.write(SECOND, "two/second.py")
    job.write(THIRD, "three/third.py")
    for cwd, file in ((two, "first.py"), (two, "second.py"), (three, "third.py")):
        ended = job.run("--quiet", job=file, cwd=cwd)
        assert ended.code == 0, ended.err
    return job


def texts(chain: Folder) -> dict[str, str]:
    with (chain.path / "three" / "third.csv").open(newline="") as file:
        return {row["key"]: row["text"] for row in csv.DictReader(file)}


def change(chain: Folder) -> None:
    (chain.path / "two" / "in" / "3.txt").write_text("three")
    (chain.path / "two" / "in" / "5.txt").write_text("five")
    (chain.path / "two" / "in" / "1.txt").unlink()


CHANGED = {"0.txt": "0!", "2.txt": "2!", "3.txt": "THREE!", "4.txt": "4!", "5.txt": "FIVE!"}


def diagnose(chain: Folder, *words: str) -> Any:
    return chain.batten("diagnose", "three/third.csv", *words, "--json")


def test_a_chain_is_shown_and_brought_up_to_date(chain: Folder) -> None:
    ended = diagnose(chain, "--upstream", "--inputs")
    assert (ended.code, ended.json["state"]) == (0, "COMPLETE")
    assert [each["path"] for each in ended.json["upstream"]] == ["two/first", "two/second"]
    change(chain)
    assert diagnose(chain, "--upstream").json["state"] == "COMPLETE", "inputs were not asked for"
    ended = diagnose(chain, "--upstream", "--inputs")
    assert (ended.code, ended.json["state"]) == (10, "STALE")
    assert [each["state"] for each in ended.json["upstream"]] == ["STALE", "STALE"]
    command = ended.json["next"]
    assert command == f"cd {chain.path}/three && batten run third.py --with-upstream"
    shown = chain.batten("diagnose", "three/third.csv", "--upstream").out
    assert "upstream COMPLETE  two/first" in shown

    ended = chain.run("--with-upstream", "--dry-run", "--json", job="three/third.py")
    assert [each["path"] for each in ended.json["upstream"]] == ["two/first", "two/second"]
    assert (ended.code, ended.json["status"]) == (0, "planned")
    assert "1.txt" in texts(chain)

    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert (ended.code, ended.json["executed_items"]) == (0, 2), ended.err
    ran = {each["path"]: each["executed_items"] for each in ended.json["upstream"]}
    assert ran == {"two/first": 2, "two/second": 2}
    assert texts(chain) == CHANGED
    ended = diagnose(chain, "--upstream", "--inputs")
    assert (ended.code, ended.json["state"]) == (0, "COMPLETE")
    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert (ended.json["status"], ended.json["upstream"]) == ("nothing-to-do", [])


def test_only_what_is_behind_is_run(chain: Folder) -> None:
    change(chain)
    chain.run("--quiet", job="first.py", cwd=chain.path / "two")
    found = diagnose(chain)
    assert found.json["state"] == "COMPLETE", "what it is made of itself has not changed"
    found = diagnose(chain, "--upstream")
    assert (found.code, found.json["state"]) == (10, "STALE")
    refused = chain.run("--quiet", job="three/third.py")
    assert refused.code == 5
    assert refused.told[-1] == f"cd {chain.path}/two && batten run second.py"
    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert [each["path"] for each in ended.json["upstream"]] == ["two/second"]
    assert texts(chain) == CHANGED


def test_a_first_one_with_quarantined_items_goes_on(chain: Folder) -> None:
    (chain.path / "two" / "in" / "5.txt").write_text("bad")
    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert (ended.code, ended.json["executed_items"]) == (0, 0)
    assert [each["exit_code"] for each in ended.json["upstream"]] == [3, 0]


def test_one_that_can_not_be_run_stops_all(chain: Folder) -> None:
    change(chain)
    first = chain.path / "two" / "first.py"
    text = first.read_text()
    first.write_text(text.replace('{"text": text}', '{"text": text + "?"}'))
    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert (ended.code, ended.json["status"]) == (5, "refused")
    assert "two/first, upstream, was run and ended with exit code 5" in ended.json["error"]["what"]
    first.unlink()
    ended = chain.run("--with-upstream", "--quiet", job="three/third.py")
    assert ended.code == 5
    assert "its job can't be run from here" in ended.told[0]
    assert ended.told[2].startswith(f"bring back {first}")
    assert len(texts(chain)) == 5
    assert texts(chain)["3.txt"] == "3!"


@pytest.mark.parametrize("how", ["damaged", "foreign", "everybody's"])
def test_what_is_not_to_be_trusted_is_not_run(chain: Folder, how: str) -> None:
    change(chain)
    two = chain.path / "two"
    if how == "damaged":
        (two / "first" / "part-000000.parquet").unlink()
    elif how == "foreign":
        shutil.rmtree(two / "first.batten")
    else:
        (two / "first.py").chmod(0o666)
    ended = chain.run("--with-upstream", "--quiet", job="three/third.py")
    assert ended.code == 5
    told = {
        "damaged": "two/first, upstream, is INCONSISTENT",
        "foreign": "two/first, upstream, is UNKNOWN",
        "everybody's": f"everybody may write to {two}/first.py",
    }
    assert told[how] in ended.told[0]


def test_one_that_was_never_made_can_not_be_run(job: Folder) -> None:
    (job.path / "two").mkdir()
    job.write(SECOND, "two/second.py")
    (job.path / "two" / "helper.py").write_text("")
    ended = job.run("--with-upstream", job="two/second.py")
    assert ended.code == 5
    assert "NEW" in ended.told[0] or "can't be run" in ended.told[0]


def test_keys_close_from_the_first_source_to_the_last_row(chain: Folder) -> None:
    words = ("verify", "three/third.csv", "--upstream", "--json")
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"], ended.json["inputs"]) == (0, "sound", None)
    links = [(each["upstream"], each["rows"], each["closed"]) for each in ended.json["links"]]
    assert links == [("two/first", 5, True), ("two/second", 5, True)]
    change(chain)
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"]) == (10, "behind")
    assert "1 item changed, 1 item gone, 1 item new" in ended.json["inputs"]
    chain.run("--quiet", job="first.py", cwd=chain.path / "two")
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"]) == (10, "behind")
    first = ended.json["links"][0]
    keys = [first[name] for name in ("missing", "extra", "changed")]
    assert keys == [["5.txt"], ["1.txt"], ["3.txt"]]
    assert ended.json["next"] == f"cd {chain.path}/three && batten run third.py --with-upstream"

    rewrite_looked(chain, complete=sha256(chain.path / "two" / "first.batten" / "COMPLETE"))
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"]) == (4, "damaged"), "nothing explains it"
    assert "3.txt" in chain.batten(*words[:-1]).out

    rewrite_looked(chain, complete="another")
    assert chain.run("--with-upstream", "--quiet", job="three/third.py").code == 0
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"]) == (0, "sound")
    part = chain.path / "two" / "second" / "part-000000.parquet"
    data = bytearray(part.read_bytes())
    data[40] ^= 1
    part.write_bytes(data)
    ended = chain.batten(*words)
    assert (ended.code, ended.json["status"]) == (4, "damaged")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewrite_looked(chain: Folder, **fields: str) -> None:
    """What the second one saw of the first."""
    path = chain.path / "two" / "second.batten" / "plan" / "upstream.json"
    looked = decode_record(LookedUpstream, path.read_bytes())
    path.write_bytes(encode_record(replace(looked, **fields)))


def test_a_source_that_is_no_dataset_has_nothing_upstream(chain: Folder) -> None:
    ended = chain.run("--with-upstream", "--json", "--quiet", job="two/first.py")
    assert (ended.code, ended.json["upstream"]) == (0, [])


def test_a_chain_without_end_is_refused(chain: Folder) -> None:
    rewrite_looked(chain, path="second")
    ended = chain.batten("diagnose", "two/second", "--upstream")
    assert ended.code == 5
    assert "upstream of itself" in ended.told[0]
    assert chain.batten("diagnose", "two/second").code in (0, 10)


SLOW = """
    import os
    import pathlib
    import time

    def read(path):
        pathlib.Path("at-work").write_text(str(os.getppid()))
        while not pathlib.Path("go-on").exists():
            time.sleep(0.01)
        return {"text": path.read_text()}

    pipeline = (
        batten.from_files("in/*.txt", removed="drop").map(read)
        .options(batch_size=2, stop_when=None).write_parquet("first/")
    )
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_signal_ends_what_is_run_upstream(chain: Folder, name: str) -> None:
    two = chain.path / "two"
    chain.write(SLOW, "two/first.py")
    ended = chain.run("--accept-change", "--quiet", job="first.py", cwd=two)
    assert ended.code == 0
    change(chain)
    words = ["run", "three/third.py", "--with-upstream", "--quiet", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", *words],
        cwd=chain.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not (two / "at-work").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.Signals[name])
    out, _ = process.communicate(timeout=60)
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 75
        assert json.loads(out)["status"] == "interrupted"
    (two / "go-on").touch()
    ended = chain.batten("diagnose", "two/first", "--json")
    while ended.json["state"] == "RUNNING":
        ended = chain.batten("diagnose", "two/first", "--json")
    ended = chain.run("--with-upstream", "--quiet", job="three/third.py")
    assert ended.code == 0, ended.err
    assert texts(chain) == CHANGED


def test_the_job_is_run_where_and_as_it_was(chain: Folder, tmp_path: Path) -> None:
    """By its parameters, in its folder; what it prints does not mix with the object."""
    two = chain.path / "two"
    chain.write(
        """
        import os

        print("loaded")

        def read(path):
            return {"text": path.read_text(), "where": os.getcwd()}

        def pipeline(of: str):
            return batten.from_files(f"{of}/*.txt").map(read).write_parquet("first/")
        """,
        "two/first.py",
    )
    shutil.rmtree(two / "first")
    shutil.rmtree(two / "first.batten")
    assert chain.run("--param", "of=in", "--quiet", job="first.py", cwd=two).code == 0
    (two / "in" / "3.txt").write_text("three")
    ended = chain.run("--with-upstream", "--json", "--quiet", job="three/third.py")
    assert ended.code == 0, ended.err
    assert texts(chain)["3.txt"] == "THREE!"
    assert os.path.exists(two / "first")
