"""What can be looked at where there is no Linux: tried on Linux, without the calls that others
lack, and without /proc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.pipeline.running import refuse_other_system

ELSEWHERE = """
import ctypes, errno, os, select, sys

for module, name in [(os, "memfd_create"), (os, "sched_getaffinity"), (os, "eventfd"),
                     (os, "pidfd_open"), (os, "splice"), (select, "epoll")]:
    if hasattr(module, name):
        delattr(module, name)

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name in ("prctl", "renameat2", "syncfs", "gettid"):
            raise AttributeError(name)
        return super().__getattr__(name)

ctypes.CDLL = Library

def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])

sys.addaudithook(refuse)
from batten.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_elsewhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def measure(n: int) -> dict[str, Any]:
    if n == 3:
        raise ValueError("no 3")
    return {"n": n}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    pipeline = batten.from_range(6).map(measure).options(batch_size=2)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("diagnose", "out"),
        ("verify", "out"),
        ("show", "out"),
        ("export", "out", "out.csv"),
        ("clean", "out"),
        ("recover", "out"),
        ("--help",),
        ("run", "--help"),
        ("completion", "zsh"),
    ],
    ids=" ".join,
)
def test_what_is_there_can_be_looked_at(output: Path, words: tuple[str, ...]) -> None:
    here = subprocess.run(
        [sys.executable, "-m", "batten", *words], cwd=output, capture_output=True, check=False
    )
    (output / "out.csv").unlink(missing_ok=True)
    ended = run_elsewhere(output, *words)
    assert (ended.returncode, ended.stderr) == (here.returncode, here.stderr.decode())


def test_what_an_interrupted_run_left_is_named(output: Path) -> None:
    (output / "out.batten" / "COMPLETE").unlink()
    ended = run_elsewhere(output, "diagnose", "out", "--json")
    assert json.loads(ended.stdout)["state"] == "INTERRUPTED"


def test_a_run_is_refused_before_it_reads_or_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(batten.UsageError, match="runs jobs on Linux"):
        refuse_other_system()
    with pytest.raises(batten.UsageError, match="runs jobs on Linux"):
        batten.from_range(1).map(measure).write_parquet(tmp_path / "out").run(progress=False)
    assert os.listdir(tmp_path) == []
