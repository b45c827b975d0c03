"""Writes the tables and diagrams of the documents that are made from the code.

    python docs/generate.py            write them
    python docs/generate.py --check    change nothing; fail where a document is not up to date

Each stands between `<!-- made by generate.py: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from batten.cli.main import COMMANDS, make_parser
from batten.model.rules import resume, states, tree_recovery
from batten.model.rules.findings import MEANINGS, Code, Severity
from batten.model.rules.resume import Decision, Found, ResumeMode
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


def make_states_diagram() -> str:
    """The same rows as questions, in their order."""
    lines = ["flowchart TD"]
    last = len(states.TABLE) - 1
    for number, row in enumerate(states.TABLE):
        verdict = states.VERDICTS[row.state]
        asked = [
            f"{_FACTS[fact].strip('`')}: {_word(value)}"
            for fact, value in row.needs.items()
            if _is_telling(row, fact, value)
        ]
        question = "<br/>".join(asked)
        answer = f"{row.state.value}<br/>{verdict.action.value}, exit {verdict.exit_code}"
        lines.append(f'    q{number}{{"{question}"}} -- yes --> s{number}["{answer}"]')
        lines.append(
            f"    q{number} -- no --> q{number + 1}"
            if number < last
            else f'    q{number} -- no --> none["can\'t come about: an error"]'
        )
    return _mermaid(lines)


def _is_telling(row: states.Row, fact: str, value: Any) -> bool:
    """Whether a need is worth showing: where nothing is batten's, the rest follows from that."""
    if fact == "ground":
        return value is not states.Ground.OURS or len(row.needs) == 1
    return row.needs["ground"] not in (states.Ground.NOTHING, states.Ground.FOREIGN)


def make_resume() -> str:
    """The table of what a run does with what it finds."""
    modes = list(ResumeMode)
    rows = [
        [found.value, *(resume.decide_resume(found, mode).value for mode in modes)]
        for found in Found
    ]
    return _table(["what is found", *(f"`{mode.value}`" for mode in modes)], rows)


def make_resume_diagram() -> str:
    """From what is found to what is done; modes that do the same share an arrow."""
    lines = ["flowchart LR"]
    lines += [f'    {found.name}["{found.value}"]' for found in Found]
    lines += [f'    {decision.name}(["{decision.value}"])' for decision in Decision]
    for found in Found:
        modes: dict[Decision, list[str]] = {}
        for mode in ResumeMode:
            modes.setdefault(resume.decide_resume(found, mode), []).append(mode.value)
        for decision, names in modes.items():
            label = "" if len(names) == len(ResumeMode) else f'|"{", ".join(names)}"|'
            lines.append(f"    {found.name} -->{label} {decision.name}")
    return _mermaid(lines)


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


def _mermaid(lines: list[str]) -> str:
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


SECTIONS: dict[str, Callable[[], str]] = {
    "states": make_states,
    "states-diagram": make_states_diagram,
    "resume": make_resume,
    "resume-diagram": make_resume_diagram,
    "actions": make_actions,
    "verdicts": make_verdicts,
    "findings": make_findings,
    "notes": make_notes,
    "remedies": make_remedies,
    "operations": make_operations,
    "commands": make_commands,
}


def render(text: str) -> str:
    """The document with its sections as the code makes them now."""
    return _SECTION.sub(lambda match: f"{match[1]}\n{SECTIONS[match['name']]()}\n{match[3]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the parts of documents made from code.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    is_check = parser.parse_args().check
    stale = []
    for document in sorted((_ROOT / "docs").rglob("*.md")):
        text = document.read_text()
        if render(text) != text:
            stale.append(str(document.relative_to(_ROOT)))
            if not is_check:
                document.write_text(render(text))
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
