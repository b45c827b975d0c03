"""Files are opened and listed in one way, by `storage`: of every other place that does it itself,
this is seen in its source, and the architecture says why it may."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import batten

ROOT = Path(batten.__file__).parent
ARCHITECTURE = (ROOT.parents[1] / "docs" / "architecture.md").read_text()
OWNERS = ("storage", "crashlab", "testing")
"""The owner itself, and tools for tests."""

FUNCTIONS = {
    *("open", "io.open", "os.open", "os.listdir", "os.scandir", "os.walk", "os.fwalk"),
    *("glob.glob", "glob.iglob"),
}
METHODS = {"read_bytes", "read_text", "write_bytes", "write_text", "iterdir", "glob", "rglob"}
SYSTEM = ("/proc/", "/dev/", "/sys/")


def is_of_the_system(node: ast.Call) -> bool:
    """Whether it is a file of the kernel, which is what its name says."""
    if not node.args:
        return False
    match node.args[0]:
        case ast.Constant(value=str(path)) | ast.JoinedStr(values=[ast.Constant(value=path), *_]):
            return str(path).startswith(SYSTEM)
        case ast.Attribute(value=ast.Name(id="os"), attr="devnull"):
            return True
    return False


def find_openings(source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if (name in FUNCTIONS or method in METHODS) and not is_of_the_system(node):
            yield name, node.lineno


def read_exceptions() -> set[str]:
    """The files and folders that the table of the architecture names."""
    _, _, rest = ARCHITECTURE.partition("| opens or lists by itself |")
    table = rest.partition("\n\n")[0]
    return set(re.findall(r"\]\(\.\./src/batten/([\w/.]+)\)", table))


def test_whoever_opens_or_lists_is_storage_or_is_named() -> None:
    allowed, used = read_exceptions(), set()
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] in OWNERS:
            continue
        for name, line in find_openings(path.read_text()):
            names = {place.as_posix(), *(each.as_posix() for each in place.parents)}
            used |= names & allowed
            if not names & allowed:
                found.append(f"{place}:{line}: {name}")
    assert found == []
    assert used == allowed, "these open nothing any more"


@pytest.mark.parametrize(
    "source",
    ["open(path)", "os.scandir(path)", "Path(x).read_bytes()", "place.rglob('*')", "open(f'{a}')"],
)
def test_what_is_found(source: str) -> None:
    assert list(find_openings(source))


def test_what_is_of_the_system_is_not() -> None:
    source = "open('/proc/x'); open(f'/proc/{pid}/y', 'rb'); os.open(os.devnull, os.O_RDWR)"
    assert list(find_openings(source)) == []
