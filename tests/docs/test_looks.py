"""Whether something is there is asked in one place, `storage/local/there.py`. Elsewhere, what can't
be looked at would count as what is not there: by `os.path` always, and by `Path` from Python 3.14
on. Whoever asks otherwise has a reason, and stands here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import batten

ROOT = Path(batten.__file__).parent
OWNER = "storage/local/there.py"

METHODS = {
    *("exists", "is_file", "is_dir", "is_symlink", "is_mount", "is_junction"),
    *("is_fifo", "is_socket", "is_block_device", "is_char_device"),
}
FUNCTIONS = {"exists", "lexists", "isfile", "isdir", "islink", "ismount", "isjunction"}

NEXT_STEP = "the next step is taken in that folder, and fails by itself"
WORDS = "only words follow from it: where a path leads, and what lies near it"
PROGRAM = "the program that runs was read from there; else it is told as one without a file"

REASONS = {
    "crashlab": "it made itself what it looks at",
    "cache/making.py": "the fault is the cache's then, and the value is made without it",
    "cache/kept_entries.py": "an entry that can't be looked at is made anew",
    "cli/looking/audit.py": NEXT_STEP,
    "drive/together/on_ray/keeper.py": "a worker may begin in any folder",
    "executors/processes/foreign_threads.py": "what the kernel lists of this process",
    "inspect/advising": WORDS,
    "inspect/paths/matching.py": NEXT_STEP,
    "inspect/paths/output_path.py": WORDS,
    "inspect/survey.py": "a name with a wildcard is then a pattern, and listing it fails by itself",
    "jobs/loading/how_started.py": PROGRAM,
    "jobs/loading/in_fresh_workers.py": PROGRAM,
    "run/checks.py": "the room of the folder above it is the same or is asked for instead",
    "sinks/lakes/iceberg/files.py": "a method of pyiceberg, which raises",
    "sources/files/files.py": "a name that can't be looked at is a pattern",
    "sources/files/pattern.py": "entries of a listing raise; a link to nothing counts as a file",
    "storage/local/durable_folders.py": NEXT_STEP,
    "storage/local/folders.py": "the error of the step before it is raised",
    "storage/local/stand_alone.py": NEXT_STEP,
    "storage/machine.py": "what the kernel lists of this container",
    "storage/staged_here.py": NEXT_STEP,
}


def find_looks(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("os.path", "posixpath"):
            yield from ((node.lineno, each.name) for each in node.names if each.name in FUNCTIONS)
        if isinstance(node, ast.Attribute) and _is_of_paths(node):
            yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # An entry of a listing is asked whether links are followed, and raises.
            is_of_entry = any(each.arg == "follow_symlinks" for each in node.keywords)
            if node.func.attr in METHODS and not is_of_entry and not _is_of_paths(node.func):
                yield node.lineno, ast.unparse(node)


def _is_of_paths(node: ast.Attribute) -> bool:
    """Whether it names a function of `os.path`, or a method of `Path` itself."""
    owner = ast.unparse(node.value)
    if owner in ("os.path", "posixpath"):
        return node.attr in FUNCTIONS
    return owner in ("Path", "pathlib.Path") and node.attr in METHODS


def test_whether_something_is_there_is_asked_in_one_place_or_with_a_reason() -> None:
    found, used = [], set()
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.as_posix() == OWNER:
            continue
        for line, told in find_looks(path.read_text()):
            named = {place.as_posix(), *(each.as_posix() for each in place.parents)} & set(REASONS)
            used |= named
            if not named:
                found.append(f"{place}:{line}: {told}")
    assert found == []
    assert used == set(REASONS), "these ask nothing any more"


@pytest.mark.parametrize(
    "source",
    [
        *("path.exists()", "Path(x).is_file()", "os.path.isdir(x)", "map(os.path.lexists, names)"),
        *(
            "from os.path import islink",
            "filter(Path.is_dir, found)",
            "[p.is_fifo() for p in x]",
        ),
    ],
)
def test_what_is_found(source: str) -> None:
    assert list(find_looks(source))


def test_what_else_is_asked_of_a_path_is_not() -> None:
    source = "os.path.join(a); path.stat(); exists(path); entry.is_file"
    assert list(find_looks(f"{source}; entry.is_dir(follow_symlinks=False)")) == []
