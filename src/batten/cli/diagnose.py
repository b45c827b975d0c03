"""`batten diagnose`: the state of an output, or of several, and the one safe action."""

from __future__ import annotations

import argparse

NAME = "diagnose"
HELP = "name the state of an output and the one safe action; reads only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="the output of a job; several, or a pattern such as 'out/refunds_*.csv', give a table",
    )
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="what should be there: run_date=2026-04-01..2026-04-30, hour=00..23, region=eu,us",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.inspect.survey import is_survey

    if is_survey(arguments.paths, arguments.expect):
        return _show_survey(arguments)
    from batten.cli.diagnosis_text import list_lines
    from batten.cli.output import emit_lines, emit_object
    from batten.inspect.diagnose import diagnose

    diagnosis = diagnose(arguments.paths[0])
    if arguments.json:
        emit_object(diagnosis.to_json())
    else:
        emit_lines(list_lines(diagnosis))
    return diagnosis.exit_code


def _show_survey(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.cli.survey_text import list_lines
    from batten.inspect.survey import survey

    found = survey(arguments.paths, arguments.expect)
    if arguments.json:
        emit_object(found.to_json())
    else:
        emit_lines(list_lines(found))
    return found.exit_code
