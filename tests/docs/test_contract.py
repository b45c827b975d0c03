"""What commands print as JSON, and the codes and states, stand in the reference."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batten.cli.main import COMMANDS
from batten.model.rules.exit_codes import ENDINGS
from batten.model.rules.states import VERDICTS
from batten.model.words import Action, RunStatus, State

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs" / "reference" / "contract.md").read_text()

BY_NAME = {"columns", "parameters", "seconds", "counts", "not_taken", "states", "rows"}
"""What is below these are names of the data's own."""

JOB = """
import batten

def measure(item):
    batten.usage(tokens=3)
    if item["id"] == "3":
        raise ValueError("no 3")
    return {"size": len(item["id"])}

pipeline = (
    batten.from_csv("in.csv", key="id").map(measure).write_parquet("out").write_csv("out.csv")
)
after = batten.from_dataset("out").map(lambda row: {"size": row["size"]}).write_parquet("after")
"""

COMMANDS_TRIED = (
    ("run", "run job.py:pipeline --preview"),
    ("run", "run job.py:pipeline --dry-run"),
    ("run", "run job.py:pipeline --limit 2"),
    ("diagnose", "diagnose out"),
    ("run", "run job.py:pipeline"),
    ("run", "run job.py:after --with-upstream"),
    ("diagnose", "diagnose after --upstream"),
    ("diagnose", "diagnose out after none"),
    ("verify", "verify after --upstream"),
    ("verify", "verify out --quick"),
    ("show", "show out"),
    ("recover", "recover out --dry-run"),
    ("clean", "clean out --dry-run"),
    ("export", "export out all.jsonl"),
    ("report", "report out -o page.html"),
    ("init", "init first.py"),
    ("completion", "completion bash"),
    ("audit", "audit --done done --rows rows.parquet --key id --staging staging.jsonl"),
    ("adopt", "adopt rows.jsonl --key id --into adopted --job adopted.py"),
    ("cache", "cache show cache"),
    ("cache", "cache verify cache"),
    ("cache", "cache clean cache"),
    ("run", "run job.py:pipeline --resume never"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    import batten

    folder = tmp_path_factory.mktemp("contract")
    (folder / "in.csv").write_text("id\n1\n2\n3\n4\n")
    (folder / "job.py").write_text(JOB)
    (folder / "adopted.py").write_text(
        JOB.replace('"out"', '"adopted"').split(".write_csv")[0] + ")"
    )
    (folder / "done").write_text("1\n2\n")
    pq.write_table(pa.table({"id": ["1"]}), folder / "rows.parquet")
    (folder / "staging.jsonl").write_text('{"id": "2"}\n[]\n{"id"')
    (folder / "rows.jsonl").write_text('{"id": "1", "size": 1}\n{"id": "9", "size": 1}\n')
    batten.Cache(folder / "cache").memo(len)("abc")
    return folder


def names(value: Any) -> Iterator[str]:
    """All names of fields in an object, also below it."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield name
            if name == "usage":
                yield from below or ()
            elif name not in BY_NAME:
                yield from names(below)
    elif isinstance(value, list):
        for each in value:
            yield from names(each)


def test_every_field_is_described(folder: Path) -> None:
    described = set(re.findall(r"`(\w+)`", CONTRACT.partition("## JSON")[2]))
    tried = [run(folder, words) for _, words in COMMANDS_TRIED]

    lacking = {
        words: sorted(set(names(printed)) - described)
        for (_, words), printed in zip(COMMANDS_TRIED, tried, strict=True)
    }
    assert {words: lack for words, lack in lacking.items() if lack} == {}
    assert {name for name, _ in COMMANDS_TRIED} <= set(COMMANDS)


def test_every_field_of_a_command_is_in_its_section(folder: Path) -> None:
    for command, words in (("run", "run job.py:pipeline"), ("diagnose", "diagnose out")):
        section = re.split(r"^### ", CONTRACT, flags=re.MULTILINE)
        told = next(each for each in section if each.startswith(f"{command}\n"))
        assert sorted(set(run(folder, words)) - set(re.findall(r"`(\w+)`", told))) == []


def run(folder: Path, words: str) -> Any:
    program = shutil.which("batten", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run(
        [program, *words.split(), "--json"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    assert done.returncode in (0, 3, 4, 5, 10), done.stderr
    return json.loads(done.stdout)


def test_every_code_state_and_word_is_there() -> None:
    codes = set(re.findall(r"^\| ([\d, ]+) \|", CONTRACT, re.MULTILINE))
    listed = {int(code) for each in codes for code in each.split(", ")}
    given = {ending.exit_code for ending in ENDINGS.values()} | {
        verdict.exit_code for verdict in VERDICTS.values()
    }

    assert given | {0} <= listed
    assert [each for each in (*RunStatus, *Action) if f"`{each}`" not in CONTRACT] == []
    assert [each for each in State if f"| `{each}` |" not in CONTRACT] == []
