"""`batten`: finds the command, and imports nothing but that."""

from __future__ import annotations

import argparse
import atexit
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from batten.cli.output import flush_output, prepare_streams

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would cost as much as all else that --help needs
    from types import ModuleType
    from typing import NoReturn

COMMANDS = {
    "run": "run a job, or go on with it where it ended",
    "work": "do a job together with other machines that see the same folder or bucket",
    "diagnose": "name the state of an output and the one safe action; reads only",
    "recover": "do the safe action: rebuild records, clear orphans",
    "verify": "read every byte: digests, rows, accounts by key; changes nothing",
    "clean": "remove what dead runs left, and journals of changes that are of no use any more",
    "show": "accounts, quarantined items with their errors, runs",
    "report": "write one page of HTML: state, safe action, accounts, failures, runs, lineage",
    "serve": "show the page live in a browser, for runs at work; this machine alone, read only",
    "export": "write all rows to one file: JSON Lines, CSV or Parquet",
    "adopt": "take over the finished rows of a hand-made job; the next run computes the rest",
    "init": "write a job file that runs, to begin with",
    "audit": "check a done file against the rows, key by key; changes nothing",
    "cache": "look at a cache, clear it up, read it through",
    "completion": "print what completes commands and options in a shell",
}
"""Each is a module of that name, with NAME, HELP, add_arguments(parser) and execute(arguments)."""

FOLDERS = {
    "jobs": ("run", "work", "adopt", "init"),
    "looking": ("diagnose", "verify", "show", "report", "serve", "export", "audit"),
    "mending": ("recover", "clean", "cache"),
}
"""Where the modules of commands lie. One that stands in no folder lies here."""

EXIT_NO_COMMAND = 2

_EPILOG = """\
exit codes: 0 done, 1 unexpected failure, 2 usage,
3 done but items are quarantined, 4 inconsistent or corrupt, 5 refused, 6 busy,
7 environment (an input, the disk, a destination), 75 interrupted: run again;
diagnose also: 10 run, 11 clean, 12 recover first

Each command has its own: batten COMMAND --help"""


class _Formatter(argparse.HelpFormatter):
    """Of fixed width: asking for the terminal's imports shutil and its archive formats. Argparse
    makes one for each argument that is added."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=79)


class _RawFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """Leaves lines as they are."""


class _Parser(argparse.ArgumentParser):
    """Tells of bad arguments as every command tells of an error."""

    def error(self, message: str) -> NoReturn:
        from batten.errors import usage_error

        raise usage_error(f"{self.prog}: {message}", f"Look at: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code. Without `argv`, the words are those of the process."""
    if argv is not None:
        return _run(list(argv))
    status = 1
    if sys.gettrace() is None and sys.getprofile() is None:
        # Registered first, called last: after everything that a job or a library has registered.
        atexit.register(lambda: _leave(status))
    status = _run(sys.argv[1:])
    return status


def _leave(status: int) -> NoReturn:
    """End the process without taking apart all that was imported, which takes as long as a tenth of
    a second: the system takes it back at once."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _run(words: list[str]) -> int:
    prepare_streams()
    is_json = "--json" in words
    return guard(lambda: _dispatch(words), is_json=is_json)


def guard(command: Callable[[], int], *, is_json: bool) -> int:
    """The exit code of the command, whatever it raises."""
    try:
        try:
            return command()
        finally:
            flush_output()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  shown, none is hidden
        from batten.cli.shown_errors import end_with

        return end_with(error, is_json=is_json)


def _dispatch(words: list[str]) -> int:
    try:
        if not words or words[0] not in COMMANDS:
            return _parse_without_command(words)
        arguments = make_parser(words[0]).parse_args(words[1:])
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    # How a command ends must be told also where no further file can be opened.
    importlib.import_module("batten.cli.shown_errors")
    status: int = load_command(words[0]).execute(arguments)
    return status


def load_command(name: str) -> ModuleType:
    """The module of a command of COMMANDS."""
    folder = next((f"{each}." for each, names in FOLDERS.items() if name in names), "")
    return importlib.import_module(f"batten.cli.{folder}{name}")


def make_parser(name: str) -> argparse.ArgumentParser:
    """What understands the arguments of a command; raises `UsageError` for those that it can't."""
    command = load_command(name)
    parser = _Parser(
        prog=f"batten {name}",
        description=command.HELP,
        epilog=getattr(command, "EPILOG", None),
        formatter_class=_Formatter,
    )
    command.add_arguments(parser)
    return parser


def _parse_without_command(words: list[str]) -> int:
    parser = _Parser(
        prog="batten",
        description="Run a function over everything, get a dataset you can trust.\n"
        "Kill it anywhere, run it again.",
        epilog=_EPILOG,
        formatter_class=_RawFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, help_line in COMMANDS.items():
        commands.add_parser(name, help=help_line, add_help=False)
    if not words:
        # No command is a mistake where a script gives an empty one; so it is not told as done.
        parser.print_help()
        return EXIT_NO_COMMAND
    if not parser.parse_args(words).version:
        parser.error("a command is missing")
    return _print_version()


def _print_version() -> int:
    from batten import __version__

    print(f"batten {__version__}")
    return 0
