"""`batten diagnose`: the state of an output, and the one safe action."""

from __future__ import annotations

import argparse

NAME = "diagnose"
HELP = "name the state of an output and the one safe action; reads only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.diagnosis_text import list_lines
    from batten.cli.output import emit_lines, emit_object
    from batten.inspect.diagnose import diagnose

    diagnosis = diagnose(arguments.path)
    if arguments.json:
        emit_object(diagnosis.to_json())
    else:
        emit_lines(list_lines(diagnosis))
    return diagnosis.exit_code
