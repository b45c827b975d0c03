"""The first minutes with the command: help, a job to begin with, words completed by the shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from batten.cli.completion import _WRITERS
from batten.cli.main import COMMANDS, main, make_parser

Folder = Any
"""A `JobFolder` of tests/conftest.py."""


def test_without_a_command_there_is_the_help(job: Folder) -> None:
    ended = job.batten()
    assert (ended.code, ended.err) == (2, "")
    assert ended.out == job.batten("--help").out
    assert all(name in ended.out for name in COMMANDS)


def test_a_job_to_begin_with_runs(job: Folder) -> None:
    ended = job.batten("init")
    assert (ended.code, ended.out) == (0, "job.py: written. Run it: batten run job.py\n")
    assert job.run().code == 0
    assert len(job.rows("job_rows")) == 100
    assert job.batten("verify", "job_rows").code == 0


def test_what_is_there_is_not_overwritten(job: Folder) -> None:
    job.write("x = 1", "mine.py")
    before = (job.path / "mine.py").read_bytes()
    ended = job.batten("init", "mine.py")
    assert ended.code == 5
    assert ended.told[0] == "mine.py is there already."
    assert (job.path / "mine.py").read_bytes() == before
    assert job.batten("init", "other.py", "--json").json == {
        "path": "other.py",
        "next": "batten run other.py",
    }


@pytest.mark.parametrize("name", ["json.py", "job.txt", "a-b.py", ""])
def test_a_name_that_no_job_can_have_is_refused(job: Folder, name: str) -> None:
    ended = job.batten("init", name)
    assert ended.code == 2
    assert len(ended.told) == 3
    assert list(job.path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(job: Folder) -> None:
    ended = job.batten("init", "absent/features.py")
    assert ended.code == 7
    assert len(ended.told) == 3


def complete(script: str, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in ("batten", *words))
    text = f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _batten\n"
    text += 'printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash"], input=text, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert complete(script, "") == set(COMMANDS)
    assert complete(script, "ver") == {"verify"}
    assert complete(script, "run", "--li") == {"--limit"}
    assert complete(script, "run", "job.py", "--resume", "") == {"if_possible", "always", "never"}
    assert complete(script, "cache", "v") == {"verify"}
    assert complete(script, "run", "j") == set()


TYPED = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
type_and_see() { zpty -w -n shell $'\x15'"$1"$'\t'; zpty -r shell seen "*$2*"; }
zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source ./script; echo SET''UP'
zpty -r shell seen '*SETUP*'
zpty -w -n shell $'bindkey "^I" complete-word; bindkey "^U" kill-whole-line; echo REA""DY\n'
zpty -r shell seen '*READY*'
type_and_see 'batten di' 'batten diagnose'
type_and_see 'batten run --resume alw' '--resume always'
type_and_see 'batten run mine' 'run mine.py'
"""
"""Each waits until it sees what is wanted."""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "mine.py").write_text("")
    subprocess.run(["zsh", "-f", "-c", TYPED], cwd=tmp_path, check=True, timeout=300)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("batten ver", {"verify"}),
        ("batten run --li", {"--limit"}),
        ("batten run job.py --resume ", {"if_possible", "always", "never"}),
        ("batten completion ", {"bash", "zsh", "fish"}),
        ("batten run mine", {"mine.py"}),
    ],
)
def test_fish_completes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: str, offered: set[str]
) -> None:
    assert main(["completion", "fish"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "mine.py").write_text("")
    words = ["fish", "--no-config", "-c", f"source ./script; complete -C'{typed}'"]
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=home, capture_output=True, text=True, check=True)
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == offered


@pytest.mark.parametrize("shell", _WRITERS)
def test_every_option_is_completed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell, "--json"]) == 0
    script = json.loads(capsys.readouterr().out)["script"]
    for name in COMMANDS:
        for action in make_parser(name)._actions:
            for option in action.option_strings:
                assert option.lstrip("-") in script or not option.startswith("--")
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


PACKAGE = """
import batten

from .steps import double
from package import FACTOR

def measure(n):
    return {"n": double(n) * FACTOR}

pipeline = batten.from_range(4).map(measure).options(batch_size=2).write_parquet("out")
"""


@pytest.fixture
def package(job: Folder) -> Path:
    folder: Path = job.path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("FACTOR = 1\n")
    (folder / "steps.py").write_text("def double(n):\n    return 2 * n\n")
    (folder / "job.py").write_text(PACKAGE)
    return folder


@pytest.mark.parametrize("workers", ["fork", "spawn"])
@pytest.mark.parametrize("spec", ["package.job", "package/job.py", "package.job:pipeline"])
def test_a_job_may_be_a_module(job: Folder, package: Path, spec: str, workers: str) -> None:
    ended = job.run("--jobs", "1", "--workers", workers, job=spec)
    assert ended.code == 0, ended.err
    rows = job.rows("package/out")
    assert [row["n"] for row in rows] == [0, 2, 4, 6]
    again = job.run("--json", job="package.job" if spec == "package/job.py" else "package/job.py")
    assert again.json["status"] == "nothing-to-do", again.err


def test_next_goes_on_with_it(job: Folder, package: Path) -> None:
    assert job.run("--limit", "2", job="package.job").code == 0
    diagnosis = job.batten("diagnose", "package/out", "--json").json
    assert diagnosis["next"] == "batten run package.job"
    elsewhere = job.batten("diagnose", "out", "--json", cwd=package).json
    assert elsewhere["next"] == f"cd {job.path} && batten run package.job"
    moved = job.path / "moved"
    moved.mkdir()
    package.rename(moved / "package")
    assert job.batten("diagnose", "package/out", "--json", cwd=moved).json["next"] == (
        "batten run package.job"
    )
    assert job.run(job="package.job", cwd=moved).code == 0


def test_next_names_the_file_where_that_was_asked_for(job: Folder, package: Path) -> None:
    assert job.run("--limit", "2", job="package/job.py").code == 0
    assert job.batten("diagnose", "package/out", "--json").json["next"] == (
        "batten run package/job.py"
    )


def test_a_sibling_that_changed_is_seen(job: Folder, package: Path) -> None:
    assert job.run(job="package.job").code == 0
    (package / "steps.py").write_text("def double(n):\n    return 3 * n\n")
    ended = job.run(job="package.job")
    assert ended.code == 5
    assert "double" in ended.err


def test_a_folder_that_is_no_package_is_told(job: Folder, package: Path) -> None:
    (package / "__init__.py").unlink()
    ended = job.run(job="package/job.py")
    assert ended.code == 2
    assert "its folder is none" in ended.told[0]
    assert "__init__.py" in ended.told[2]


def test_a_module_that_is_not_there_is_told(job: Folder, package: Path) -> None:
    ended = job.run(job="package.other")
    assert ended.code == 2
    assert ended.told[0] == "There is no job file package.other."
