"""Tables and diagrams in the documents are those that the code makes, and records are described."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Config,
    Fingerprint,
    PartDescription,
    PinnedSchema,
    Segment,
)
from batten.model.disk.runs.holders import Holder

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "docs" / "generate.py"
SHOWN = ("README.md", "concepts.md")
"""What pictures and the index are made of."""
FORMAT = ROOT / "docs" / "on-disk-format.md"


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_documents_are_up_to_date() -> None:
    done = run(GENERATE, "--check")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_document_that_differs_is_found_and_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "pictures").mkdir(parents=True)
    for path in (*GENERATE.parent.glob("*.py"), *map(GENERATE.parent.joinpath, SHOWN)):
        shutil.copy(path, folder)
    document = folder / "architecture.md"
    assert run(folder / GENERATE.name).returncode == 0
    document.write_text("<!-- made by generate.py: resume -->\nold\n<!-- end -->\nafter\n")
    program = folder / GENERATE.name

    assert (run(program, "--check").returncode, "old" in document.read_text()) == (1, True)
    assert run(program).returncode == 0
    assert run(program, "--check").returncode == 0
    assert "| nothing | start |" in document.read_text()
    assert document.read_text().endswith("<!-- end -->\nafter\n")


@pytest.mark.parametrize("made", ["pictures/killed.svg", "pictures/kill.svg", "llms.txt"])
def test_what_is_made_of_a_document_follows_it(tmp_path: Path, made: str) -> None:
    folder = tmp_path / "docs"
    (folder / "pictures").mkdir(parents=True)
    for path in (*GENERATE.parent.glob("*.py"), *map(GENERATE.parent.joinpath, SHOWN)):
        shutil.copy(path, folder)
    program = folder / GENERATE.name
    assert run(program).returncode == 0
    for name in SHOWN:
        text = (folder / name).read_text()
        text = text.replace("16 committed", "15 committed").replace("8 of 24", "9 of 24")
        (folder / name).write_text(text.replace("a first job", "the first job"))

    assert made in run(program, "--check").stdout


@pytest.mark.parametrize(
    "record",
    [
        *(Config, Fingerprint, Segment, PartDescription, PinnedSchema, CommitRecord),
        *(Completion, Delivery, Holder),
    ],
    ids=lambda record: str(record.__name__),
)
def test_every_field_on_disk_is_described(record: type) -> None:
    text = FORMAT.read_text()

    assert [field.name for field in fields(record) if f"`{field.name}`" not in text] == []
