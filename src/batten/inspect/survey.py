"""The states of several outputs at once: those that a pattern finds, and those expected.

It only reads, and takes no lock.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from batten.errors import UsageError
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.matching import match_paths
from batten.inspect.paths.output_path import locate_output
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.telling.run_keys import as_wildcards, is_pattern, list_expected
from batten.model.value_class import value_class
from batten.model.words import State

_URGENCY = (
    State.CORRUPT,
    State.INCONSISTENT,
    State.UNKNOWN,
    State.RECOVERY_PENDING,
    State.INTERRUPTED,
    State.STALE,
    State.NEW,
    State.COMPLETE_WITH_ORPHANS,
    State.RUNNING,
    State.COMPLETE,
)
"""The first of these that is there decides the exit code."""


def rank_urgency(state: State) -> int:
    """0 of the most urgent state."""
    return _URGENCY.index(state)


@value_class
class Survey:
    """Several outputs in the order of their paths. One that is expected and is not there is NEW."""

    diagnoses: tuple[Diagnosis, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many are in each state that is there, the most urgent first."""
        counted = Counter(each.state for each in self.diagnoses)
        return {state: counted[state] for state in _URGENCY if counted[state]}

    @property
    def exit_code(self) -> int:
        """That of the most urgent state; 0 where there are no outputs and none is expected."""
        first = next(iter(self.counts), None)
        return next((each.exit_code for each in self.diagnoses if each.state is first), 0)

    def urgent_first(self) -> list[Diagnosis]:
        """By state, then by path."""
        return sorted(self.diagnoses, key=lambda each: (rank_urgency(each.state), each.path))

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "states": {state.value: count for state, count in self.counts.items()},
            "missing": [each.path for each in self.diagnoses if each.state is State.NEW],
            "outputs": [each.to_json() for each in self.diagnoses],
        }


def survey(patterns: Sequence[str], expectations: Sequence[str] = ()) -> Survey:
    """Diagnose all that `find_outputs` gives, and raise what that raises."""
    places = map(locate_output, find_outputs(patterns, expectations))
    return Survey(diagnoses=tuple(diagnose_place(place, is_brief=True) for place in places))


def find_outputs(patterns: Sequence[str], expectations: Sequence[str]) -> list[str]:
    """The paths of all that the patterns find, and of all that is expected
    (`run_date=FIRST..LAST`).

    Raises `UsageError` if it is not clear what is expected, or if nothing is found. Raises
    `StorageError` if nobody can know what is there."""
    paths: set[str] = set()
    for pattern in patterns:
        found, expected = _find_outputs(pattern), list_expected(pattern, expectations)
        _refuse_other_names(pattern, found, expected)
        paths.update(found, expected)
    if not paths:
        raise UsageError(
            f"Nothing is found at {', '.join(map(repr, patterns))}.",
            safe="Nothing was written.",
            next="Correct the pattern, or say what should be there: "
            "--expect run_date=2026-04-01..2026-04-30",
        )
    return sorted(paths)


def _refuse_other_names(pattern: str, found: set[str], expected: list[str]) -> None:
    """Where `*` stands for the value, and in the names that are there for more than that."""
    before, star, after = pattern.partition("*")
    for value in expected if star else ():
        inner = value[len(before) : len(value) - len(after)]
        for path in sorted(found.difference(expected)):
            if inner in path[len(before) : len(path) - len(after)]:
                raise UsageError(
                    f"{pattern!r} expects {value!r}, and {path!r} is there.",
                    safe="Nothing was written.",
                    next="Write the path with the name in braces: 'out/report_{run_date}.csv'.",
                )


def is_survey(paths: Sequence[str], expectations: Sequence[str]) -> bool:
    """Whether more than one output is meant. A name with a wildcard that is there means itself."""
    if expectations or len(paths) != 1:
        return True
    path = paths[0].rstrip("/")
    is_there = os.path.lexists(path) or os.path.lexists(path + CONTROL_SUFFIX)
    return is_pattern(path) and not is_there


def _find_outputs(pattern: str) -> set[str]:
    """Outputs, and control folders of outputs that are not there yet, each named as an output."""
    if not is_pattern(pattern) or os.path.lexists(pattern):
        return {_name_output(pattern)}
    wild = as_wildcards(pattern.rstrip("/"))
    found = [*match_paths(wild), *match_paths(wild + CONTROL_SUFFIX)]
    return {_name_output(path) for path in found}


def _name_output(path: str) -> str:
    stripped = path.rstrip("/")
    output = stripped.removesuffix(CONTROL_SUFFIX)
    return output if os.path.basename(output) else stripped
