"""`batten clean`: removes what dead runs left."""

from __future__ import annotations

import argparse

from batten.cli.units import parse_age

NAME = "clean"
HELP = "remove what dead runs left, and journals of changes that are of no use any more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job, or a landing")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        default=0.0,
        help="only what has at least this age: 90s, 30m, 24h, 7d",
    )
    parser.add_argument(
        "--landed",
        action="store_true",
        help="of a landing: delete the files of which all that was made is complete",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit
    from batten.cli.text.mending_text import list_cleaning_lines
    from batten.inspect.clean import clean_landed, clean_output
    from batten.inspect.paths.output_path import locate_output

    clean = clean_landed if arguments.landed else clean_output
    cleaning = clean(
        locate_output(arguments.path),
        older_than_seconds=arguments.older_than,
        is_dry_run=arguments.dry_run,
    )
    emit(cleaning, list_cleaning_lines(cleaning), is_json=arguments.json)
    return 0
