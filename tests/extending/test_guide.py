"""The steps of `docs/guides/extending.md` are carried out: its package is installed and tried."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Installed

TESTS = ["test_drawer_sink.py", "test_drawer_source.py", "test_in_turn.py"]


@pytest.mark.parametrize("file", TESTS)
def test_what_the_page_brings_passes_the_contract(drawer: Installed, file: str) -> None:
    done = drawer.python("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


APART = """\
            base.execute("COMMIT")
            base.execute("BEGIN IMMEDIATE")
"""
BREAKS = {
    "the rows are committed before the token": (
        "            values = (token.dataset",
        f"{APART}            values = (token.dataset",
    ),
    "the token does not name the dataset": (
        "WHERE dataset = ? AND batch = ?",
        "WHERE ? != '' AND batch = ?",
    ),
    "looking makes the file": (
        "return [TokenState.ABSENT for _ in tokens]",
        "self.prepare(None)",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_contract_finds_a_sink_that_breaks_its_promise(drawer: Installed, name: str) -> None:
    code = drawer.packages / "batten_drawer.py"
    old, new = BREAKS[name]
    assert code.read_text().count(old) == 1
    code.write_text(code.read_text().replace(old, new))

    done = drawer.python("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", TESTS[0])

    assert done.returncode == 1, done.stdout


def test_the_command_of_the_page_is_one(drawer: Installed) -> None:
    drawer.batten("run", "job.py")
    script = (
        "import sys, batten.cli.looking, batten.cli.main as main\n"
        f"batten.cli.looking.__path__.append({str(drawer.folder)!r})\n"
        "main.COMMANDS['state'] = ''\n"
        "main.FOLDERS['looking'] += ('state',)\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )

    told = drawer.python("-c", script, "state", "squares")
    as_json = drawer.python("-c", script, "state", "squares", "--json")

    assert (told.returncode, told.stdout) == (0, "COMPLETE\n"), told.stderr
    assert json.loads(as_json.stdout)["state"] == "COMPLETE"
