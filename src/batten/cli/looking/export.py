"""`batten export`: all rows of an output in one file."""

from __future__ import annotations

import argparse

from batten.model.telling.counts import count_of

NAME = "export"
HELP = "write all rows to one file: JSON Lines, CSV or Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument(
        "to",
        metavar="TO",
        help="the file to make or replace: .jsonl, .csv or .parquet; - is standard output",
    )
    parser.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), help="where the ending does not say it"
    )
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="also of an output that is not complete"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit, tell
    from batten.cli.standard_output import StandardOutput, is_standard_output
    from batten.inspect.export import Exported
    from batten.inspect.reading import open

    is_printed = is_standard_output(arguments.to, is_json=arguments.json)
    if is_printed:
        _refuse_for_terminal(arguments.format)
    dataset = open(arguments.path, allow_incomplete=arguments.allow_incomplete)
    made = Exported(
        path=dataset.path,
        to=arguments.to,
        rows=dataset.export(StandardOutput() if is_printed else arguments.to, arguments.format),
        is_complete=dataset.is_complete,
    )
    rest = "" if made.is_complete else "; the output is not complete"
    told = f"{made.to}: {count_of(made.rows, 'row')} of {made.path}{rest}"
    if is_printed:
        tell(told)
    else:
        emit(made, [told], is_json=arguments.json)
    return 0


def _refuse_for_terminal(format: str | None) -> None:
    import sys

    from batten.errors import usage_error

    if format is None:
        raise usage_error(
            "What goes to standard output has no ending that says which format it is.",
            "Add --format jsonl, csv or parquet.",
        )
    if format == "parquet" and sys.stdout.isatty():
        raise usage_error(
            "Parquet is bytes that a terminal can't show.",
            "Add --format jsonl or csv; or lead standard output into a file or a program.",
        )
