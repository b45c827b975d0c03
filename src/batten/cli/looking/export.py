"""`batten export`: all rows of an output in one file."""

from __future__ import annotations

import argparse

from batten.model.telling.counts import count_of

NAME = "export"
HELP = "write all rows to one file: JSON Lines, CSV or Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument(
        "to", metavar="TO", help="the file to make or replace: .jsonl, .csv or .parquet"
    )
    parser.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), help="where the ending does not say it"
    )
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="also of an output that is not complete"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit
    from batten.inspect.export import Exported
    from batten.inspect.reading import open

    dataset = open(arguments.path, allow_incomplete=arguments.allow_incomplete)
    made = Exported(
        path=dataset.path,
        to=arguments.to,
        rows=dataset.export(arguments.to, arguments.format),
        is_complete=dataset.is_complete,
    )
    rest = "" if made.is_complete else "; the output is not complete"
    told = f"{made.to}: {count_of(made.rows, 'row')} of {made.path}{rest}"
    emit(made, [told], is_json=arguments.json)
    return 0
