"""`batten run` as users meet it: what it says, what it exits with, what it leaves."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.terminals import read_rest

from batten.cli.main import main
from batten.model.disk.records import Config

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

SIX = """
    def measure(item):
        return {"twice": 2 * item}

    pipeline = batten.from_range(6).map(measure).write_parquet("out").options(batch_size=2)
"""

BAD_JOBS = {
    "a syntax error": ("def f(:\n    pass", "job.py:2: SyntaxError: invalid syntax"),
    "an error": ("x = 1 / 0", "cannot be loaded: ZeroDivisionError: division by zero (job.py:2"),
    "a missing import": ("import absent_module", "No module named 'absent_module'"),
    "an end of the process": ("raise SystemExit(3)", "it ends the process with status 3"),
    "no pipeline": ("x = 1", "job.py makes no pipeline."),
    "two pipelines": (
        "a = batten.from_range(1).write_parquet('a'); b = batten.from_range(1).write_parquet('b')",
        "job.py makes 2 pipelines: a, b.",
    ),
    "no sink": ("pipeline = batten.from_range(1).map(str)", "The pipeline has no sink"),
    "a called function": (
        "pipeline = batten.from_range(1).map(str(1))",
        ".map() takes a function, not str.",
    ),
    "a bad option": (
        "pipeline = batten.from_range(1).options(batch_size=0)",
        "batch_size is 0.",
    ),
    "a bad schema": (
        "pipeline = batten.from_range(1).write_parquet('out').options(schema={'a': 'number'})",
        "schema= gives the column 'a' the type 'number', which is none: ",
    ),
}


@pytest.fixture
def refusal(
    job: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Runs the command in this process, for errors that come before any work; gives what happened
    as it is told, and checks the rest."""
    path_before = list(sys.path)

    def run(*words: str, spec: str = "job.py") -> str:
        monkeypatch.chdir(job.path)
        assert main(["run", spec, *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        what, safe, advice = err.splitlines()
        assert safe.endswith(".")
        assert advice
        assert [path.name for path in job.path.iterdir()] == ["job.py"]
        return what

    yield run
    sys.path[:] = path_before


@pytest.mark.parametrize(("text", "what"), BAD_JOBS.values(), ids=list(BAD_JOBS))
def test_a_job_that_cannot_be_run_is_told_in_three_lines(
    job: Folder, refusal: Callable[..., str], text: str, what: str
) -> None:
    job.write(text)
    assert what in refusal()


@pytest.mark.parametrize("spec", ["absent.py", "job.py:absent", ".", "x" * 300 + ".py"])
def test_a_job_that_is_not_there_is_told_in_three_lines(
    job: Folder, refusal: Callable[..., str], spec: str
) -> None:
    job.write(SIX)
    assert spec.removeprefix("job.py:") in refusal(spec=spec)


def test_a_job_that_may_not_be_read_is_told_in_three_lines(job: Folder, nobody: list[str]) -> None:
    job.write(SIX)
    shut = job.path / "shut"
    shut.mkdir()
    (job.path / "job.py").rename(shut / "job.py")
    os.chmod(shut, 0o700)
    os.chmod(job.path, 0o755)
    ended = subprocess.run(
        [*nobody, sys.executable, "-m", "batten", "run", "shut/job.py"],
        cwd=job.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[0] == "shut/job.py cannot be read: Permission denied."


def test_the_next_step_that_is_told_works_when_pasted(job: Folder) -> None:
    job.write(
        "a = batten.from_range(1).map(lambda x: {'x': x}).write_parquet('a')\n"
        "b = batten.from_range(1).map(lambda x: {'x': x}).write_parquet('b')"
    )
    advice = job.run().told[2]
    first, second = advice.removeprefix("Name one of them: ").split(" or ")
    for line, output in ((first, "a"), (second, "b")):
        assert job.batten(*shlex.split(line)[1:]).code == 0
        assert job.rows(output) == [{"key": 0, "x": 0}]


def test_two_pipelines_of_one_job_are_apart(job: Folder) -> None:
    job.write(
        "a = batten.from_range(2).map(lambda x: {'x': x}).write_parquet('a')\n"
        "b = batten.from_range(2).map(lambda x: {'x': -x}).write_parquet('b')"
    )
    assert job.run(job="job.py:b").code == 0
    assert not (job.path / "a").exists()
    assert job.rows("b") == [{"key": 0, "x": 0}, {"key": 1, "x": -1}]


DATED = """
    import datetime

    def pipeline(run_date: datetime.date, window: int = 2):
        return (
            batten.from_range(window)
            .map(lambda item: {"day": run_date + datetime.timedelta(item)})
            .write_parquet(f"out_{run_date}")
        )
"""


def test_parameters_are_converted_and_name_the_output(job: Folder) -> None:
    job.write(DATED)
    assert job.run("--param", "run_date=2026-04-24").code == 0
    assert [str(row["day"]) for row in job.rows("out_2026-04-24")] == ["2026-04-24", "2026-04-25"]
    other = job.run("--param", "run_date=2026-04-24", "--param", "window=3")
    assert other.code == 5
    assert "parameter window: 2 → 3" in other.told[0]
    assert job.run("--param", "run_date=2026-04-25", "--param", "window=3").code == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "run_date is not given"),
        (["--param", "run_date=2026-13-24"], "run_date is '2026-13-24', which is not"),
        (["--param", "rundate=2026-04-24"], "no parameter rundate"),
        (["--param", "run_date"], "not of the form NAME=VALUE"),
        (["--param", "run_date=1", "--param", "run_date=2"], "is given twice"),
        (["--jobs", "0"], "jobs is 0"),
        (["--jobs", "1001"], "jobs is 1001"),
        (["--jobs", "many"], "argument --jobs"),
        (["--resume", "sometimes"], "argument --resume"),
    ],
)
def test_bad_arguments_are_told_in_three_lines(
    job: Folder, refusal: Callable[..., str], words: list[str], what: str
) -> None:
    if "--jobs" in words:
        words = ["--param", "run_date=2026-04-24", *words]
    job.write(DATED)
    assert what in refusal(*words)


def test_relative_paths_are_relative_to_the_job_file(job: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "clips").mkdir()
    (folder / "clips" / "one").write_text("1")
    job.write(
        "pipeline = batten.from_files('clips/*').map(lambda path: {'text': path.read_text()})"
        ".write_parquet('out')",
        file="jobs/job.py",
    )
    assert job.run(job="jobs/job.py").code == 0
    assert job.rows("jobs/out") == [{"key": "one", "text": "1"}]
    again = job.run(job=str(folder / "job.py"), cwd=Path("/"))
    assert again.code == 0
    assert "nothing to do" in again.err


# What is printed where


def test_json_is_the_only_thing_on_standard_output(job: Folder) -> None:
    job.write("""
        import os, subprocess, sys

        print("loading")

        def measure(item):
            print(f"measuring {item}")
            os.write(1, b"straight to the descriptor\\n")
            subprocess.run(["echo", "from a child"])
            return {"twice": 2 * item}

        pipeline = batten.from_range(3).map(measure).write_parquet("out")
    """)
    ended = job.run("--json")
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1
    told = ended.json
    assert told["status"] == "complete"
    assert told["items"]["committed"] == 3
    assert told["executed_items"] == 3
    for text in ("loading", "measuring 2", "straight to the descriptor", "from a child"):
        assert text in ended.err
    assert job.run("--json").json["status"] == "nothing-to-do"


@pytest.mark.parametrize("words", [["--json"], ["--json", "--quiet"]])
def test_an_error_as_json_has_the_three_lines(job: Folder, words: list[str]) -> None:
    ended = job.write("print('loading')\nx = 1").run(*words)
    assert ended.code == 2
    assert ended.json["status"] == "failed"
    told = ended.json["error"]
    assert [told["what"], told["safe"], told["next"]] == ended.told


def test_a_terminal_shows_a_bar_that_leaves_nothing_behind(job: Folder) -> None:
    job.write("""
        import time

        def measure(item):
            time.sleep(0.02)
            if item == 3:
                raise ValueError("three")
            return {"twice": 2 * item}

        pipeline = batten.from_range(40).map(measure).write_parquet("out")
    """)
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1"],
        cwd=job.path,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(follower)
    shown = read_rest(leader)
    assert running.wait() == 3
    assert running.stdout is not None
    assert running.stdout.read() == b""
    running.stdout.close()
    text = shown.decode()
    assert "/40 items" in text
    assert "1 quarantined" in text
    screen = _screen(text)
    assert screen[0] == "First item that failed: '3': ValueError: three"
    assert screen[1] == "out: complete; the accounts are closed."
    assert not any("/40 items" in line for line in screen)


def _screen(text: str) -> list[str]:
    """The lines that are left to be seen: what is cleared is gone."""
    lines = [line.rstrip("\r").split("\x1b[2K")[-1] for line in text.split("\n")]
    return [line.replace("\r", "") for line in lines if line.strip()]


def test_elsewhere_there_are_no_control_characters_and_quiet_is_quiet(job: Folder) -> None:
    job.write(SIX)
    loud = job.run()
    assert "\x1b" not in loud.err
    assert "\r" not in loud.err
    (job.path / "again").mkdir()
    job.write(SIX, file="again/job.py")
    quiet = job.run("--quiet", job="again/job.py")
    assert quiet.code == 0
    assert quiet.err.splitlines()[0] == "again/out: complete; the accounts are closed."


# What a run does with what it finds


def test_a_dry_run_writes_nothing(job: Folder) -> None:
    job.write(SIX)
    before = job.snapshot()
    first = job.run("--dry-run", "--json")
    assert first.code == 0
    assert first.json["status"] == "planned"
    assert first.json["items"]["pending"] == 6
    assert job.snapshot() == before
    job.run("--limit", "3")
    before = job.snapshot()
    assert job.run("--dry-run", "--json").json["items"]["pending"] == 3
    assert job.snapshot() == before
    job.run()
    before = job.snapshot()
    assert job.run("--dry-run", "--json").json["items"]["pending"] == 0
    assert job.snapshot() == before


def test_never_starts_what_is_new_and_refuses_what_exists(job: Folder) -> None:
    job.write(SIX)
    assert job.run("--resume", "never").code == 0
    before = job.snapshot()
    refused = job.run("--resume", "never")
    assert refused.code == 5
    assert refused.told[0] == "out exists, and resume is 'never'."
    assert job.snapshot() == before
    assert job.run("--resume", "always").code == 0


def test_never_starts_again_where_the_first_try_found_no_source(job: Folder) -> None:
    job.write(
        "pipeline = batten.from_files('clips/*').map(lambda p: {'n': p.name}).write_parquet('out')"
    )
    assert job.run("--resume", "never").code == 7
    (job.path / "clips").mkdir()
    (job.path / "clips" / "one").touch()
    assert job.run("--resume", "never").code == 0


def test_a_source_that_is_not_there_is_told_and_waited_for(job: Folder) -> None:
    job.write(
        "pipeline = batten.from_files('clips/*').map(lambda p: {'n': p.name}).write_parquet('out')"
    )
    ended = job.run()
    assert ended.code == 7
    assert ended.told[0] == "The input clips can't be read: No such file or directory."
    (job.path / "clips").mkdir()
    (job.path / "clips" / "one").touch()
    assert job.run().code == 0
    assert job.rows() == [{"key": "one", "n": "one"}]


def test_never_refuses_what_is_unfinished(job: Folder) -> None:
    job.write(SIX)
    job.run("--limit", "2")
    assert job.run("--resume", "never").code == 5


def test_a_limited_run_is_extended_by_the_full_one(job: Folder) -> None:
    job.write(SIX)
    limited = job.run("--limit", "3", "--json")
    assert limited.code == 0
    assert limited.json["status"] == "limited"
    assert not (job.path / "out.batten" / "COMPLETE").exists()
    kept = job.parts()
    assert job.run("--limit", "3", "--json").json["executed_items"] == 0
    full = job.run("--json")
    assert full.json["status"] == "complete"
    assert full.json["executed_items"] == 3
    assert [row["key"] for row in job.rows()] == list(range(6))
    assert {name: job.parts()[name] for name in kept} == kept
    assert job.run("--limit", "2", "--json").json["status"] == "nothing-to-do"


def test_changed_code_is_refused_by_name(job: Folder) -> None:
    job.write(SIX)
    job.run()
    before = job.snapshot()
    job.write(SIX.replace("2 * item", "3 * item"))
    before |= {"job.py": job.snapshot()["job.py"]}
    for words in ([], ["--resume", "always"], ["--dry-run"]):
        refused = job.run(*words)
        assert refused.code == 5
        assert "function job.measure changed (job.py:" in refused.told[0]
        assert job.snapshot() == before
    assert job.run("--json").json["status"] == "refused"


def test_a_job_moved_to_other_lines_is_not_changed(job: Folder) -> None:
    job.write(SIX)
    job.run()
    job.write("\n    # a remark\n" + SIX)
    assert "nothing to do" in job.run().err


def test_output_that_is_not_battens_is_refused_and_untouched(job: Folder) -> None:
    job.write(SIX)
    (job.path / "out").write_text("mine")
    before = job.snapshot()
    refused = job.run()
    assert refused.code == 5
    assert refused.told[0] == ("out: a file, not a folder of parts, and there is no out.batten.")
    assert job.snapshot() == before
    (job.path / "out").unlink()
    (job.path / "out").mkdir()
    (job.path / "out" / "mine.txt").write_text("mine")
    before = job.snapshot()
    refused = job.run()
    assert refused.code == 5
    assert refused.told[0] == "out: it holds files, and there is no out.batten."
    assert job.snapshot() == before


def test_a_newer_format_is_refused_with_what_can_read_it(job: Folder) -> None:
    job.write(SIX)
    job.run("--limit", "2")
    config = job.path / "out.batten" / "dataset.json"
    value = json.loads(config.read_text())
    config.write_text(json.dumps(value | {"format_version": Config.newest_format + 1}))
    before = job.snapshot()
    refused = job.run()
    assert refused.code == 5
    assert "format version 3; this batten reads up to 2" in refused.told[0]
    assert "newer batten" in refused.told[2]
    assert job.snapshot() == before


def test_a_folder_that_may_not_be_written_is_the_environments_fault(job: Folder) -> None:
    job.write(SIX)
    shut = subprocess.run(["chattr", "+i", job.path], capture_output=True, check=False)
    if shut.returncode != 0:
        pytest.skip("chattr needs root and a filesystem that knows it")
    try:
        ended = job.run()
    finally:
        subprocess.run(["chattr", "-i", job.path], check=True)
    assert ended.code == 7
    assert ended.told[0].startswith("out can't be written")
    assert "permission" in ended.told[2]
    assert job.run().code == 0


def run_mounted(job: Folder, mount: str) -> list[str]:
    """The three lines of a refusal of the environment, where this was mounted first."""
    shell = f'{mount}; exec "$@"'
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", shell, "sh"]
    if subprocess.run([*unshared, "true"], cwd=job.path, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    ended = subprocess.run(
        [*unshared, sys.executable, "-m", "batten", "run", "job.py"],
        cwd=job.path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = ended.stderr.splitlines()
    assert (ended.returncode, len(told)) == (7, 3)
    return told


def test_a_filesystem_that_is_read_only_is_called_so(job: Folder) -> None:
    job.write(SIX.replace('"out"', '"results/out"'))
    (job.path / "results").mkdir()
    told = run_mounted(job, "mount -t tmpfs -o ro none results")
    assert "the filesystem of 'results' is read-only" in told[0]
    assert "permission" not in told[2]
    assert told[2].startswith("Mount it for writing")


def test_an_output_on_another_filesystem_is_told_at_once(job: Folder) -> None:
    job.write(SIX)
    (job.path / "out").mkdir()
    told = run_mounted(job, "mount -t tmpfs none out")
    assert "different filesystems" in told[0]
    assert "one filesystem" in told[2]
    assert not (job.path / "out.batten").exists()
    assert job.run("--json").json["status"] == "complete"


OF_PYTHON = ("copy", "json", "random", "statistics", "typing")


@pytest.mark.parametrize("name", OF_PYTHON)
def test_a_job_that_is_called_like_a_module_of_python(job: Any, name: str) -> None:
    """It is refused with the reason; beside other jobs it does no harm."""
    text = (
        'pipeline = batten.from_range(3).map(lambda n: {"n": n}, version="1").write_parquet("out")'
    )
    job.write(text, f"{name}.py")
    ended = job.run(job=f"{name}.py")
    assert ended.code == 2, ended.err
    what, _, advice = ended.told
    assert "has the name of a module of Python itself" in what
    assert f"{name}_job.py" in advice
    job.write(
        "def work(n):\n    return {'n': n}\n\npipeline = batten.from_range(3).map(work)"
        '.write_parquet("out")'
    )
    for words in ([], ["--fresh", "--workers", "spawn"]):
        ended = job.run(*words)
        assert ended.code == 0, ended.err
    assert job.batten("diagnose", "out").code == 0
