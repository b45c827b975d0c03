"""`batten show`: what an output holds, and how it came about."""

from __future__ import annotations

import argparse

NAME = "show"
HELP = "accounts, quarantined items with their errors, runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all items")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit
    from batten.cli.text.overview_text import list_lines
    from batten.inspect.show import show

    overview = show(arguments.path)
    emit(overview, list_lines(overview), is_json=arguments.json)
    return 0
