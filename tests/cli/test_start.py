"""A run imports what jobs of its kind need, in the command and in its workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import batten, sys

def measure(number):
    return {"double": number * 2, "modules": ",".join(sorted(sys.modules))}

job = batten.from_items([3, 4, 5], key=str).map(measure).write_parquet("out")
"""

RUN = """
import sys
from batten.cli.main import main
assert main(["run", "plain.py", "--jobs", "1", "--quiet", *sys.argv[1:]]) == 0
import pyarrow.parquet as pq
print(",".join(sorted(sys.modules)))
print(pq.read_table("out")["modules"][0].as_py())
"""

OF_OTHER_JOBS = (
    *("asyncio", "http.client", "urllib.request", "socketserver", "email", "sqlite3"),
    *(
        "batten.vendors",
        "batten.work.submitting",
        "batten.anywhere",
        "batten.drive.together.joining",
    ),
    *(
        "batten.work.own_workers.server",
        "batten.jobs.model_server",
        "batten.executors.asynchronous",
    ),
    *("batten.transactions", "batten.sinks.files", "batten.sinks.databases", "batten.sinks.lakes"),
    *("batten.sinks.kafka", "batten.deliver.route", "batten.deliver.whole", "batten.finalize"),
    *("batten.drive.successors", "batten.drive.adopt_finished", "batten.adopting", "batten.chain"),
    *("batten.cache", "batten.storage.objects", "batten.storage.staged_here", "batten.display.bar"),
    *("batten.inspect", "batten.page", "batten.sources.files", "batten.crashlab"),
)


@pytest.mark.parametrize("again", [False, True])
def test_a_plain_run_imports_nothing_of_other_jobs(tmp_path: Path, again: bool) -> None:
    (tmp_path / "plain.py").write_text(JOB)
    for words in [["--limit", "2"], []] if again else [[]]:
        done = subprocess.run(
            [sys.executable, "-c", RUN, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    for imported in done.stdout.splitlines():
        names = imported.split(",")
        assert "batten.model.words" in names
        assert [each for each in names if _is_of_others(each)] == []


def _is_of_others(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in OF_OTHER_JOBS)


def test_the_help_imports_little_more_than_its_parser() -> None:
    """`typing` alone took as long as all else of it."""
    program = "import sys; from batten.cli.main import main; main(['--help'])"
    asked = f"{program}; print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stderr.split())
    assert "argparse" in imported
    assert imported & {"typing", "logging", "json", "dataclasses", "pathlib", "pyarrow"} == set()
    ours = {each for each in imported if each.partition(".")[0] == "batten"}
    assert ours == {"batten", "batten.cli", "batten.cli.main", "batten.cli.output"} | {
        "batten.printable"
    }
