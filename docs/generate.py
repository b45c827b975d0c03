"""Writes the tables, pictures and the index that are made from the code.

    python docs/generate.py            write them
    python docs/generate.py --check    change nothing; fail where a document is not up to date

A table stands between `<!-- made by generate.py: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

import pictures

import batten
from batten.cli.main import COMMANDS, make_parser
from batten.model.rules import resume, states, tree_recovery
from batten.model.rules.findings import MEANINGS, Code, Severity
from batten.model.rules.resume import Found, ResumeMode
from batten.model.words import Action

_ROOT = Path(__file__).resolve().parents[1]
_SECTION = re.compile(
    r"(<!-- made by generate\.py: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL
)

_FACTS = {
    "ground": "what is there",
    "is_locked": "locked",
    "damage": "damage",
    "has_journal": "journal",
    "is_complete": "`COMPLETE`",
    "is_stale": "made of what is another now",
    "has_orphans": "orphans",
}
_DAMAGED = (Severity.CORRUPT, Severity.INCONSISTENT, Severity.UNKNOWN)


def make_states() -> str:
    """The table of states: what each row needs, and what it decides."""
    rows = [
        [
            *(_word(row.needs[fact]) if fact in row.needs else "" for fact in _FACTS),
            f"**{row.state.value}**",
            states.VERDICTS[row.state].action.value,
            str(states.VERDICTS[row.state].exit_code),
        ]
        for row in states.TABLE
    ]
    return _table([*_FACTS.values(), "state", "safe action", "exit code"], rows)


def make_resume() -> str:
    """The table of what a run does with what it finds."""
    modes = list(ResumeMode)
    rows = [
        [found.value, *(resume.decide_resume(found, mode).value for mode in modes)]
        for found in Found
    ]
    return _table(["what is found", *(f"`{mode.value}`" for mode in modes)], rows)


def make_findings() -> str:
    """Every finding that makes an output damaged or unknown, and what is safe to do about it."""
    return _table_of_findings(code for code in Code if MEANINGS[code].severity in _DAMAGED)


def make_notes() -> str:
    """Every finding that does no harm."""
    return _table_of_findings(code for code in Code if MEANINGS[code].severity not in _DAMAGED)


def make_actions() -> str:
    """Each state, its one safe action and the exit code of `batten diagnose`."""
    rows = [
        [f"[{state.value}](#{state.value.lower()})", verdict.action.value, str(verdict.exit_code)]
        for state, verdict in states.VERDICTS.items()
        if verdict.action is not Action.RECOVER
    ]
    return _table(["state", "safe action", "exit code"], rows)


def make_verdicts() -> str:
    """Every state with its one safe action and the exit code of `batten diagnose`."""
    rows = [
        [f"`{state.value}`", verdict.action.value, str(verdict.exit_code)]
        for state, verdict in states.VERDICTS.items()
    ]
    return _table(["state", "safe action", "exit code"], rows)


def make_remedies() -> str:
    """What recovery of a tree does about the journal that it finds."""
    rows = [[state.value, remedy.value] for state, remedy in tree_recovery.REMEDIES.items()]
    return _table(["the journal is", "recovery does"], rows)


def make_operations() -> str:
    """What recovery of a tree does for each operation of a journal, by what it finds."""
    rows = [
        [action, staged.value, target.value, step.value]
        for (action, staged, target), step in tree_recovery.STEPS.items()
    ]
    return _table(["operation", "staged file or backup", "at the path", "recovery does"], rows)


def make_commands() -> str:
    """Each command with its arguments and options."""
    return "\n".join(
        section
        for name, says in COMMANDS.items()
        for section in _list_commands(make_parser(name), f"## {name}", says)
    )


def _list_commands(parser: argparse.ArgumentParser, heading: str, says: str) -> Iterable[str]:
    """The section of a command, and those of the commands below it."""
    formatter = parser._get_formatter()
    rows, below = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action._choices_actions:
                name = f"#{heading} {each.dest}"
                below += _list_commands(action.choices[each.dest], name, each.help or "")
        elif not isinstance(action, argparse._HelpAction):
            told = formatter._expand_help(action) if action.help else ""
            rows.append([f"`{_name_argument(action)}`", told])
    yield f"{heading}\n\n{says[0].upper()}{says[1:]}.\n"
    if rows:
        yield f"```text\n{parser.format_usage().removeprefix('usage: ')}```\n"
        yield _table(["argument", "what it is"], rows)
    yield from below


def _name_argument(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = str(action.metavar or choices or action.dest.upper())
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _table_of_findings(codes: Iterable[Code]) -> str:
    rows = [
        [f"`{code.value}`", MEANINGS[code].severity.value, MEANINGS[code].safe_action]
        for code in codes
    ]
    return _table(["finding", "severity", "what is safe"], rows)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value.value) if isinstance(value, Enum) else str(value)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


SECTIONS: dict[str, Callable[[], str]] = {
    "states": make_states,
    "resume": make_resume,
    "actions": make_actions,
    "verdicts": make_verdicts,
    "findings": make_findings,
    "notes": make_notes,
    "remedies": make_remedies,
    "operations": make_operations,
    "commands": make_commands,
}


PICTURES: dict[str, Callable[[], str]] = {
    "layout": pictures.draw_layout,
    "row": pictures.draw_row,
    "row-in-code": pictures.draw_row_in_code,
    "kill": pictures.draw_kill,
    "states": pictures.draw_states,
    "killed": pictures.draw_killed,
}


def make_index() -> str:
    """`llms.txt`: what batten is, and every document with what is in it."""
    documents = (_ROOT / "docs" / "README.md").read_text()
    listed = documents.partition("\n")[2].partition("\n\nThe tests run")[0].strip()
    listed = re.sub(r"^(\S.*):$", r"## \1", listed, flags=re.MULTILINE)
    text = "\n".join(["# batten", "", f"> {batten.__doc__}", "", *_ABOUT, "", listed])
    for document, page in _ONLY_PAGES.items():
        text = text.replace(f"]({document})", f"]({page})")
    commands = [f"- `batten {name}`: {says}" for name, says in COMMANDS.items()]
    return "\n".join([text, "", "## Commands", "", *commands]) + "\n"


_ONLY_PAGES = {
    "reference/python.md": "reference/python.html",
    "reference/packages.md": "reference/packages.html",
    "../CONTRIBUTING.md": "contributing.html",
}
"""What is whole only as a page of the site; each other document lies beside its page."""


_ABOUT = (
    "A Python library and a command for Linux. A job file builds a pipeline: a source, functions,",
    "a destination. `batten run JOB.py` runs it, and resumes it by itself after a kill.",
    "`batten diagnose OUTPUT` names the state of an output and the one safe action. Nothing is",
    "ever guessed: what a run can't be sure of it refuses, with the commands by which to go on.",
)


def list_made() -> Iterable[tuple[Path, str]]:
    """Each file that is made, or has a part that is, with what it should hold."""
    folder = _ROOT / "docs"
    for document in sorted(folder.rglob("*.md")):
        yield document, render(document.read_text())
    for name, draw in PICTURES.items():
        yield folder / "pictures" / f"{name}.svg", draw()
    yield folder / "llms.txt", make_index()


def render(text: str) -> str:
    """The document with its sections as the code makes them now."""
    return _SECTION.sub(lambda match: f"{match[1]}\n{SECTIONS[match['name']]()}\n{match[3]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the parts of documents made from code.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    is_check = parser.parse_args().check
    stale = []
    for path, text in list_made():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(_ROOT)))
            if not is_check:
                path.write_text(text)
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
