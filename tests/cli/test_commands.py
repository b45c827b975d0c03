"""The command line as a user meets it: processes, exit codes, what is printed where."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import batten
from batten.cli.main import COMMANDS, guard, load_command, main
from batten.cli.units import parse_age
from batten.errors import (
    BattenError,
    BusyError,
    CorruptError,
    FailedRunError,
    InconsistentError,
    InterruptedRunError,
    RefusedError,
    StorageError,
    UsageError,
)

BATTEN = [sys.executable, "-m", "batten"]


def run(
    *words: str, cwd: Path | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*BATTEN, *words], cwd=cwd, capture_output=True, text=True, check=False, **options
    )


JOB = """
import batten

def measure(item):
    if item == 3:
        raise ValueError("three")
    return {"twice": 2 * item}

pipeline = batten.from_range(10).map(measure).options(batch_size=4).write_parquet("out/")
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder in which `job.py` has been run, with one item quarantined."""
    (tmp_path / "job.py").write_text(JOB)
    ended = run("run", "job.py", "--jobs", "1", "--quiet", cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    return tmp_path


def test_the_names_that_batten_exports() -> None:
    assert sorted(batten.__all__) == [
        "BattenError",
        "BusyError",
        "Cache",
        "CacheEntry",
        "CorruptError",
        "Dataset",
        "Diagnosis",
        "FailedRunError",
        "InconsistentError",
        "InterruptedRunError",
        "Landed",
        "Limits",
        "ModelServer",
        "OutdatedError",
        "Pipeline",
        "Progress",
        "QuarantinedError",
        "QuarantinedWarning",
        "RefusedError",
        "Report",
        "Secret",
        "Status",
        "StorageError",
        "Transaction",
        "Usage",
        "UsageError",
        "Worker",
        "diagnose",
        "from_csv",
        "from_dataset",
        "from_files",
        "from_items",
        "from_jsonl",
        "from_kafka",
        "from_landed",
        "from_parquet",
        "from_range",
        "from_source",
        "from_tables",
        "has_token",
        "land",
        "open",
        "publish_directory",
        "publish_file",
        "read_lock",
        "structured",
        "transaction",
        "usage",
    ]
    for name in batten.__all__:
        assert getattr(batten, name).__name__ == name
    assert set(batten.__all__) <= set(dir(batten))
    with pytest.raises(AttributeError):
        batten.nothing_of_that_name  # noqa: B018
    assert Path(batten.__file__).with_name("py.typed").exists()


HEAVY = {"pyarrow", "numpy", "multiprocessing", "asyncio", "batten.drive", "batten.work"}


@pytest.mark.parametrize(
    "words", [None, ["--help"], ["--version"], ["diagnose", "out"], ["diagnose", "out", "--json"]]
)
def test_nothing_heavy_is_imported(job: Path, words: list[str] | None) -> None:
    code = "import sys, batten\n"
    if words is not None:
        code += f"from batten.cli.main import main\nmain({words!r})\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=job, check=True
    )
    assert ended.stderr == "[]\n"


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom batten.cli.main import main\nmain(['--help'])\n"
        "print([name for name in sys.modules if name.startswith('batten')], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(ended.stderr.replace("'", '"'))) == {
        "batten",
        "batten.cli",
        "batten.cli.main",
        "batten.cli.output",
        "batten.printable",
    }
    assert all(name in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    command = load_command(name)
    assert (name, COMMANDS[name]) == (command.NAME, command.HELP)
    ended = run(name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--json" in ended.stdout


@pytest.mark.parametrize("words", [["nonsense"], ["diagnose"], ["clean", "x", "--older-than", "1"]])
def test_bad_arguments_are_told_in_three_lines(words: list[str]) -> None:
    ended = run(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 3
    ended = run(*words, "--json")
    assert ended.returncode == 2
    assert set(json.loads(ended.stdout)["error"]) == {"what", "safe", "next"}


def test_the_story_of_one_job(job: Path) -> None:
    """Each command on one output, in JSON and for people."""
    assert run("diagnose", "out", cwd=job).returncode == 0
    orphan = job / "out.batten" / "staging" / "COMPLETE.host-1-0a1b2c3d4e5f6071"
    orphan.write_bytes(b"half")
    told = run("diagnose", "out/", "--json", cwd=job)
    assert told.returncode == 11
    found = json.loads(told.stdout)
    assert found["orphans"][0]["path"] == "out.batten/staging/COMPLETE.host-1-0a1b2c3d4e5f6071"
    assert (found["next"], found["items"]["quarantined"]) == ("batten clean out", 1)
    cleaned = run("clean", "out", "--json", cwd=job)
    assert [each["bytes"] for each in json.loads(cleaned.stdout)["removed"]] == [4]
    assert run("verify", "out", cwd=job).stdout.startswith("SOUND  out\n")
    shown = json.loads(run("show", "out", "--json", cwd=job).stdout)
    assert [(each["key"], each["item"]) for each in shown["quarantined"]] == [("3", 3)]
    assert "ValueError: three" in run("show", "out", cwd=job).stdout
    assert shown["runs"][0]["status"] == "complete"

    (job / "out" / "part-000001.parquet").unlink()
    told = run("diagnose", "out", "--json", cwd=job)
    assert (told.returncode, json.loads(told.stdout)["missing"]) == (4, ["4", "5", "6", "7"])
    verified = run("verify", "out", cwd=job)
    assert (verified.returncode, "part-000001.parquet" in verified.stdout) == (4, True)
    refused = run("recover", "out", "--json", cwd=job)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (4, 3)
    assert json.loads(refused.stdout)["status"] == "inconsistent"
    planned = run("recover", "out", "--recompute-missing", "--dry-run", cwd=job)
    assert planned.stdout.startswith("would set aside out.batten/COMPLETE")
    recovered = run("recover", "out", "--recompute-missing", "--json", cwd=job)
    assert (recovered.returncode, json.loads(recovered.stdout)["state"]) == (0, "INTERRUPTED")

    again = run("run", "job.py", "--jobs", "1", "--json", cwd=job)
    assert (again.returncode, json.loads(again.stdout)["executed_items"]) == (3, 4)
    assert run("verify", "out", cwd=job).returncode == 0
    assert run("diagnose", "out", cwd=job).returncode == 0


@pytest.mark.parametrize(("name", "code"), [("nothing", 2), ("file", 5), ("folder", 5)])
@pytest.mark.parametrize("command", ["verify", "show", "recover", "clean"])
def test_what_is_no_output(tmp_path: Path, command: str, name: str, code: int) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_text("mine")
    ended = run(command, name, cwd=tmp_path)
    if name == "nothing" and command in ("recover", "clean"):
        code = 0
        assert ended.stdout.startswith(f"There is nothing to {command}")
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_reader_that_goes_away_is_no_failure(job: Path) -> None:
    for number in range(3000):
        (job / "out.batten" / "staging" / f"COMPLETE.host-1-{number:016x}").touch()
    reading, writing = os.pipe()
    os.close(reading)
    for words in (["diagnose", "out", "--json"], ["diagnose", "out"]):
        ended = subprocess.run(
            [*BATTEN, *words], cwd=job, stdout=writing, stderr=subprocess.PIPE, check=False
        )
        assert (ended.returncode, ended.stderr) == (11, b"")
    os.close(writing)


def test_an_output_that_cannot_be_written_is_the_environment(job: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*BATTEN, "diagnose", "out"], cwd=job, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, b"Traceback" in ended.stderr) == (7, False)


CLOSED = {"all": "<&- >&- 2>&-", "output": ">&-", "errors": "2>&-"}


@pytest.mark.parametrize("redirection", CLOSED.values(), ids=CLOSED.keys())
def test_closed_streams_change_no_outcome(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "job.py").write_text(JOB.replace("def measure(item):", PRINTS))
    shell = shlex.join([*BATTEN, "run", "job.py", "--jobs", "1", "--json"])
    ended = subprocess.run(f"{shell} {redirection}", shell=True, cwd=tmp_path, check=False)
    assert ended.returncode == 3
    shell = shlex.join([*BATTEN, "verify", "out"])
    ended = subprocess.run(f"{shell} {redirection}", shell=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0
    assert run("verify", "out", cwd=tmp_path).returncode == 0


PRINTS = """def measure(item):
    import os
    os.write(1, b"to standard output")
    os.write(2, b"to standard error")
"""


def test_errors_that_cannot_be_written_change_no_outcome(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*BATTEN, "run", "job.py", "--jobs", "1"], cwd=tmp_path, stderr=full, check=False
        )
    assert ended.returncode == 3
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*BATTEN, "run", "job.py"], cwd=tmp_path, stderr=writing, check=False)
    os.close(writing)
    assert ended.returncode == 3


def test_names_that_are_not_utf8_and_control_characters_are_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"out\xff\x1b[2J")
    (tmp_path / name).write_text("a file")
    shown = run("diagnose", name, cwd=tmp_path)
    assert (shown.returncode, "\x1b" in shown.stdout, shown.stderr) == (5, False, "")
    assert json.loads(run("diagnose", name, "--json", cwd=tmp_path).stdout)["path"] == name
    refused = run("show", name, cwd=tmp_path)
    assert ("\x1b" in refused.stderr, len(refused.stderr.splitlines())) == (False, 3)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (UsageError("what", safe="safe", next="next"), 2, "failed"),
        (InconsistentError("what", safe="safe", next="next"), 4, "inconsistent"),
        (CorruptError("what", safe="safe", next="next"), 4, "inconsistent"),
        (RefusedError("what", safe="safe", next="next"), 5, "refused"),
        (BusyError("what", safe="safe", next="next"), 6, "busy"),
        (StorageError("what", safe="safe", next="next"), 7, "failed"),
        (InterruptedRunError("what", safe="safe", next="next"), 75, "interrupted"),
        (FailedRunError("what", safe="safe", next="next"), 1, "failed"),
        (BattenError("what", safe="safe", next="next"), 1, "failed"),
    ],
)
def test_each_error_has_its_exit_code(
    error: BattenError, code: int, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert guard(fail, is_json=True) == code
    told = capsys.readouterr()
    assert told.err == "what\nsafe\nnext\n"
    document = json.loads(told.out)
    assert document["status"] == status
    assert document["error"] == {"what": "what", "safe": "safe", "next": "next"}


def test_an_interruption_and_the_unexpected(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    def fail() -> int:
        raise ZeroDivisionError("by zero")

    assert guard(interrupt, is_json=False) == 75
    assert "Traceback" not in capsys.readouterr().err
    assert guard(fail, is_json=True) == 1
    told = capsys.readouterr()
    assert "Traceback" in told.err
    assert "ZeroDivisionError: by zero" in json.loads(told.out)["error"]["what"]


@pytest.mark.parametrize("command", ["diagnose", "recover"])
def test_an_empty_path_is_not_the_current_folder(command: str, job: Path) -> None:
    """As a script gives one whose variable is not set."""
    ended = run(command, "", cwd=job / "out")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("The path is empty.")


def test_main_returns_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("batten ")
    assert main(["diagnose", "--help"]) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("1.5d", 129600)]
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds
