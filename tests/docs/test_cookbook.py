"""Each block of code in the cookbook is run by a test, and the first example of the README."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pyarrow.parquet as pq
import pytest
import yaml

from batten.cli.main import make_parser

ROOT = Path(__file__).parents[2]
COOKBOOK = ROOT / "docs" / "cookbook"
PAGES = sorted(COOKBOOK.glob("*.md"))

_BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (?P<name>[\w-]+\.\w+)\n")
NOTEBOOK = COOKBOOK / "notebooks.md"
KUBERNETES = COOKBOOK / "kubernetes.md"

PROGRAMS = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def blocks(page: Path, kind: str) -> list[str]:
    return [each["text"] for each in _BLOCK.finditer(page.read_text()) if each["kind"] == kind]


def name_of(text: str) -> str:
    found = _NAMED.match(text)
    return found["name"] if found else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_no_block_is_left_untried(page: Path) -> None:
    """test_console runs what is shown as a console, with the files that have names."""
    files = {name_of(text) for kind in ("python", "sh", "yaml") for text in blocks(page, kind)}
    shown = " ".join([*blocks(page, "console"), *blocks(page, "python"), *blocks(page, "sh")])
    kinds = {each["kind"] for each in _BLOCK.finditer(page.read_text())}

    assert kinds <= {"console", "python", "sh", "yaml", "text"}
    if page == NOTEBOOK:
        assert (files, kinds) == ({""}, {"python"})
    elif page == KUBERNETES:
        assert files == {"features.py", "job.yaml"}
    else:
        uses = {name: re.search(rf"\b{Path(name).stem}\b", _cut(shown, name)) for name in files}
        assert [name for name, use in uses.items() if name == "" or use is None] == []


def _cut(shown: str, name: str) -> str:
    return shown.replace(f"# {name}\n", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_commands_that_are_only_shown_are_such(page: Path) -> None:
    for text in blocks(page, "text"):
        shown = re.sub(r"\$\(.*?\)", "X", text)
        for words in re.findall(r"\bbatten (\w+ .*)$", shown, re.MULTILINE):
            name, *given = shlex.split(words)
            make_parser(name).parse_args(given)


def test_the_cells_of_the_notebook_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(text) for text in blocks(NOTEBOOK, "python")]
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3", resources=where).execute()

    _, preview, report, failed, rows = (_last(cell) for cell in book.cells)
    assert "<table>" in preview["text/html"]
    assert "50 items, 1 quarantined, 49 rows" in report["text/plain"]
    assert failed["text/plain"] == "[('13', 'ValueError: thirteen')]"
    assert "2401" in rows["text/plain"]


def _last(cell: Any) -> Any:
    return cell.outputs[-1].data if cell.outputs else {}


def test_the_pod_of_kubernetes_does_the_job(tmp_path: Path) -> None:
    (manifest,) = blocks(KUBERNETES, "yaml")
    (job,) = blocks(KUBERNETES, "python")
    (tmp_path / name_of(job)).write_text(job)
    spec = yaml.safe_load(manifest)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    done = subprocess.run(container["command"], cwd=tmp_path, env=PROGRAMS, check=False)

    assert done.returncode == 0
    assert pq.read_table(tmp_path / "features").num_rows == 100
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1, 2, 3, 4, 5]


def test_the_first_example_works_in_an_empty_folder(tmp_path: Path) -> None:
    example = blocks(ROOT / "README.md", "sh")[0]
    done = subprocess.run(
        ["bash", "-e"],
        cwd=tmp_path,
        env=PROGRAMS,
        input=example,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "the accounts are closed" in done.stderr
    assert "COMPLETE" in done.stdout
    assert pq.read_table(tmp_path / "squares").num_rows == 100
    assert len((tmp_path / "squares.csv").read_text().splitlines()) == 101
