"""Of what lies in `staging/`, only what has a name that batten gives there is ever deleted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main

ENDING = "host-1-0123456789abcdef"
"""Host, process and random number, as in the name of what a run was about to publish."""

ALMOST = (
    *("notes.txt", "COMPLETE", "part-000001.parquet", f".{ENDING}", ENDING, f"mine.{ENDING}"),
    *(f"part-x.parquet.{ENDING}", f"part-1.parquet.{ENDING}", f"part-000001.txt.{ENDING}"),
    *(f"part-00000\N{FULLWIDTH DIGIT ONE}.parquet.{ENDING}", f"PART-000001.parquet.{ENDING}"),
    *(f"my part-000001.parquet.{ENDING}", f"part-000001.parquet.{ENDING}.bak"),
    *(f"part-000001.parquet.{ENDING}\n", f"part-000001.parquet.{ENDING}f", f"COMPLETE\n.{ENDING}"),
    *("part-000001.parquet.host-1-zz", "part-000001.parquet.host-1-0123456789ABCDEF"),
    *("part-000001.parquet.host-0-0123456789abcdef", "part-000001.parquet.0123456789abcdef"),
    *(f"workrooms.{ENDING}", "workroom", f"000001.jsonl.{ENDING}", f"dataset-json.{ENDING}"),
    os.fsdecode(b"part-000001.parquet.h\xe9st-1-0123456789abcde"),
)
ALMOST_OF_A_TREE = (
    *ALMOST,
    *("0123456789abcdef.00001", "0123456789ABCDEF.000001", "0123456789abcdef.000001.md"),
    *("0123456789abcdef.000001\n", "0123456789abcde.000001", "0123456789abcdef-000001"),
    "0123456789abcdef.00000\N{FULLWIDTH DIGIT ONE}",
)
OWN = f"part-000001.parquet.{ENDING}"
OWN_OF_A_TREE = "0123456789abcdef.000001"


def put_all(staging: Path, almost: tuple[str, ...]) -> dict[str, bytes]:
    """Files, and half of them as folders with a file in it too."""
    for number, name in enumerate(almost):
        (staging / name).write_bytes(os.fsencode(name))
        folder = staging / f"folder {name}" / name
        folder.mkdir(parents=True)
        (folder / str(number)).write_bytes(b"precious")
    return read_all(staging)


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_again(folder: Path) -> None:
    pipeline_at(folder).run(jobs=1, executor="serial")


def run_fresh(folder: Path) -> None:
    pipeline_at(folder).run(jobs=1, executor="serial", fresh=True)


def command(*words: str) -> Callable[[Path], None]:
    def call(folder: Path) -> None:
        assert main([*words, str(folder / "out")]) == 0

    call.__name__ = words[0]
    return call


CLEAN = command("clean", "--older-than", "0s")
RECOVER = command("recover")


def change_tree(folder: Path) -> None:
    with batten.transaction(folder / "out") as change:
        change.write("two.md", "two")


def pipeline_at(folder: Path) -> batten.Pipeline:
    source = batten.from_range(6 if (folder / "out").exists() else 4)
    source = source.map(lambda number: {"number": number}, version="1").options(batch_size=2)
    return source.write_parquet(folder / "out")


@pytest.mark.parametrize("act", [run_again, run_fresh, CLEAN, RECOVER])
def test_of_a_dataset(tmp_path: Path, act: Callable[[Path], None]) -> None:
    run_again(tmp_path)
    staging = tmp_path / "out.batten/staging"
    before = put_all(staging, ALMOST)
    (staging / OWN).write_bytes(b"half")
    act(tmp_path)
    assert not (staging / OWN).exists()
    assert read_all(staging) == before


@pytest.mark.parametrize("act", [change_tree, CLEAN, RECOVER])
def test_of_a_tree(tmp_path: Path, act: Callable[[Path], None], capsys: Any) -> None:
    change_tree(tmp_path)
    staging = tmp_path / "out.batten/tree/staging"
    before = put_all(staging, ALMOST_OF_A_TREE)
    (staging / OWN_OF_A_TREE).write_bytes(b"half")
    act(tmp_path)
    assert not (staging / OWN_OF_A_TREE).exists()
    assert read_all(staging) == before
