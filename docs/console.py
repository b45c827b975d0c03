"""Runs the commands that documents show, and holds what they print against what is shown.

    python docs/console.py FILE…            write what the commands print into the documents
    python docs/console.py --check FILE…    change nothing; fail where they print something else

The commands of a document run in order, in one temporary folder, on one processor:

    ```console                    commands after `$ `, each followed by what it prints
    ```python, ```sh, ```yaml     with the first line `# name.py`: a file of that name
    <!-- prepare … -->            shell commands that the reader is not shown
    <!-- killed before PATH -->   the next command is killed with all it started, before its first
                                  system call that changes a file whose path fits this pattern
    <!-- SIGTERM before PATH -->  the same with a signal, which only the holder of a lock gets

What differs from run to run (times, process numbers, sizes) may differ from what is shown.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from batten.crashlab.faults import Fault, KillBefore, Meanwhile
from batten.crashlab.tracing.laboratory import run_traced

_SOURCES = Path(__file__).parents[1] / "src"
"""What a document says is held against the sources beside it, whatever is installed."""

_PIECE = re.compile(
    r"^```console\n(?P<console>.*?)^```$"
    r"|^```(?:python|sh|yaml)\n(?P<file># (?P<name>[\w-]+\.\w+)\n.*?)^```$"
    r"|^<!-- prepare\n(?P<prepare>.*?)^-->$"
    r"|^<!-- (?P<how>killed|SIG[A-Z]+[12]?) before (?P<path>\S+) -->$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.MULTILINE)

_DIFFERING = [
    (re.compile(pattern, re.MULTILINE), mark)
    for pattern, mark in (
        (r"^ +hint +(?:the disk|the filesystem|the kernel|out of memory|\d+ processes of).*\n", ""),
        # A run tells how far it is where it takes ten seconds or longer.
        (r"^[\d,]+/[\d,]+ items  +\d+%.*\n", ""),
        (r"^( +memory): .*", r"\1: ROOM"),
        (r"\b\d{8}T\d{6}(?:\.\d+)?Z(?:-[0-9a-f]{4})?\b", "RUN"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"\b(of |\.)[\w.-]+-\d+(?:-[0-9a-f]{16})?$", r"\1OWNER"),
        (r"\.[\w.-]+-\d+-[0-9a-f]{16}\b", ".OWNER"),
        (r"\bprocess \d+ on \S+", "process PID on HOST"),
        (r"\b[0-9a-f]{32,64}\b", "DIGEST"),
        (r"\b\d+(?:\.\d+)? (?:bytes|kB|MB|GB)\b", "SIZE"),
        (r"\b\d+(?:\.\d+)? (?:seconds?|s|minutes|hours)\b", "SECONDS"),
        (r"\b(plan|prepare|publish|account)(\"?:?) \d+(?:\.\d+)?", r"\1\2 SECONDS"),
    )
]


_SIGNAL_HOLDERS = """
import glob, json, os, signal, sys
for lock in glob.glob("*.batten/lock", root_dir=sys.argv[2]):
    text = open(os.path.join(sys.argv[2], lock)).read()
    if text:
        os.kill(json.loads(text)["pid"], signal.Signals[sys.argv[1]])
"""


@dataclass
class Session:
    """The folder in which the commands of one document run. `fault` is for the next one."""

    folder: Path
    fault: Fault | None = None

    def disturb(self, how: str, path: str) -> None:
        if how == "killed":
            self.fault = KillBefore(1, path=path)
        else:
            command = (sys.executable, "-c", _SIGNAL_HOLDERS, how, str(self.folder))
            self.fault = Meanwhile(1, path=path, command=command)

    def execute(self, command: str) -> str:
        """What the command prints on both outputs."""
        fault, self.fault = self.fault, None
        shell = ["bash", "-c", f"exec 2>&1; {command}"]
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(_SOURCES),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
        }
        if fault is None:
            done = subprocess.run(
                shell,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                check=False,
            )
            return done.stdout.decode()
        traced = run_traced(
            shell,
            folders=[self.folder],
            fault=fault,
            environment=environment,
            working_folder=self.folder,
            timeout_seconds=300,
        )
        if traced.hit is None:
            raise SystemExit(f"{command}: nothing came of {fault}\n{traced.stdout}")
        return traced.stdout + "Killed\n" * isinstance(fault, KillBefore)


def run_document(text: str) -> tuple[str, list[str]]:
    """The document with what its commands print now, and the differences that matter."""
    differences: list[str] = []
    with tempfile.TemporaryDirectory(prefix="batten-docs-") as name:
        session = Session(Path(name))

        def replace_piece(match: re.Match[str]) -> str:
            if match["console"] is not None:
                shown = match["console"]
                printed = _COMMAND.sub(lambda each: _run_shown(session, each, differences), shown)
                return f"```console\n{printed}```"
            if match["name"] is not None:
                (session.folder / match["name"]).write_text(match["file"])
            elif match["prepare"] is not None:
                session.execute(match["prepare"])
            else:
                session.disturb(match["how"], match["path"])
            return match[0]

        return _PIECE.sub(replace_piece, text), differences


def _run_shown(session: Session, match: re.Match[str], differences: list[str]) -> str:
    command, shown = match["command"], match["shown"]
    printed = session.execute(command).replace(str(session.folder), "/srv/job")
    if printed and not printed.endswith("\n"):
        printed += "\n"
    before, after = normalise(shown), normalise(printed)
    if before == after:
        return match[0]
    differences += difflib.unified_diff(
        before.splitlines(), after.splitlines(), "shown", f"printed: {command}", lineterm=""
    )
    return f"$ {command}\n{printed}"


def normalise(text: str) -> str:
    """The text with marks for what differs from run to run."""
    for pattern, mark in _DIFFERING:
        text = pattern.sub(mark, text)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the commands that documents show.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    parser.add_argument("documents", nargs="+", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
    is_different = False
    for document in arguments.documents:
        text, differences = run_document(document.read_text())
        if not differences:
            continue
        is_different = True
        sys.stdout.write(f"{document}\n" + "\n".join(differences) + "\n")
        if not arguments.check:
            document.write_text(text)
    return 1 if is_different and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
