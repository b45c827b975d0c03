"""Commands are forked from processes that are kept, and end as if they had been executed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tracing import needs_tracing

from batten.crashlab import kept_templates
from batten.crashlab.kept_templates import ForkedCommands, execute, find_template, keep_template
from batten.crashlab.tracing.starting import Template, TracingError

pytestmark = needs_tracing

WHO = """
    import os, sys
    print(sorted(os.environ), os.getcwd(), sys.argv, sys.flags.hash_randomization)
    print("told", file=sys.stderr)
    sys.exit(3)
"""


def program(folder: Path, text: str) -> list[str]:
    path = folder / "program.py"
    path.write_text("\n".join(line.strip() for line in text.splitlines()))
    return [sys.executable, str(path)]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Those of other tests stay as they are."""
    made: dict[Any, Template] = {}
    monkeypatch.setattr(kept_templates, "_kept", made)
    yield
    for template in made.values():
        template.close()


def test_what_imports_the_same_is_forked_from_the_same(tmp_path: Path) -> None:
    plain = find_template(program(tmp_path, "print(1)"), tmp_path)
    assert find_template(program(tmp_path, "import batten.drive.run"), tmp_path) is plain
    other = find_template(program(tmp_path, "import xml.sax.saxutils, wave"), tmp_path)
    assert other is not plain
    assert find_template(program(tmp_path, "import wave, xml.sax.saxutils"), tmp_path) is other


def test_another_environment_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = keep_template()
    monkeypatch.setenv("SOMETHING", "else")
    second = keep_template()
    assert second is not first
    assert second.environment["SOMETHING"] == "else"
    monkeypatch.delenv("SOMETHING")
    assert keep_template() is first


def test_one_that_died_is_made_again() -> None:
    first = keep_template()
    os.kill(first.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert keep_template() is not first


def test_few_are_kept() -> None:
    first = keep_template(["wave"])
    others = [keep_template([name]) for name in ("sched", "cmd", "colorsys", "netrc")]
    assert not first.is_alive
    assert all(each.is_alive for each in others[1:])


@pytest.mark.parametrize("times", [1, 2])
def test_a_command_ends_as_when_it_is_executed(tmp_path: Path, times: int) -> None:
    command, forked = [*program(tmp_path, WHO), "a word"], ForkedCommands()
    for _ in range(times):
        ended = forked.run(command, tmp_path, SOMETHING="else")
    executed = execute(command, tmp_path, SOMETHING="else")
    assert ended.returncode == executed.returncode == 3
    assert ended.stderr == executed.stderr == "told\n"
    assert ended.stdout == executed.stdout.replace("'PYTEST_CURRENT_TEST', ", "")


def test_what_speaks_to_python_is_heard_by_a_new_one(tmp_path: Path) -> None:
    command = program(tmp_path, "import sys; print(sys.flags.hash_randomization, hash('a'))")
    ended = ForkedCommands().run(command, tmp_path, PYTHONHASHSEED="0")
    assert ended.stdout == execute(command, tmp_path, PYTHONHASHSEED="0").stdout
    assert ended.stdout.startswith("0 ")


def test_a_library_may_hold_its_own_file_and_nothing_may_hold_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "library.py").write_text(
        "import pyarrow.lib\nheld = open(pyarrow.lib.__file__, 'rb')\n"
    )
    (tmp_path / "reader.py").write_text("held = open(__file__, 'rb')\n")
    command = program(tmp_path, "import library; print(library.held.closed)")
    assert ForkedCommands(["library"]).run(command, tmp_path).stdout == "False\n"
    with pytest.raises(TracingError, match=r"holds threads \[\] and files .*reader.py"):
        ForkedCommands(["reader"]).run(command, tmp_path)
