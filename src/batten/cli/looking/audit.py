"""`batten audit`: whether a hand-made done file tells the truth about the rows."""

from __future__ import annotations

import argparse
import os

from batten.errors import UNTOUCHED, RefusedError

NAME = "audit"
HELP = "check a done file against the rows, key by key; changes nothing"
EXIT_CONSISTENT = 0
EXIT_INCONSISTENT = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--done", required=True, metavar="FILE", help="finished keys, one a line")
    parser.add_argument(
        "--rows", required=True, metavar="PATH", help="a file of Parquet, JSONL or CSV, or a folder"
    )
    parser.add_argument("--key", required=True, metavar="COLUMN", help="the rows' column of keys")
    parser.add_argument(
        "--staging", metavar="FILE", help="JSONL rows that are not in Parquet yet, keyed likewise"
    )
    parser.add_argument(
        "--keys",
        metavar="FILE",
        help="write all missing, extra and duplicate keys here (JSON Lines)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all keys")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit
    from batten.cli.text.audit_report import list_lines, write_keys
    from batten.strangers.audit import audit_files

    refuse_present(arguments.keys)
    report = audit_files(arguments.done, arguments.rows, arguments.key, arguments.staging)
    if arguments.keys is not None:
        write_keys(report, arguments.keys)
    emit(report, list_lines(report, arguments.keys), is_json=arguments.json)
    return EXIT_CONSISTENT if report.audit.is_consistent else EXIT_INCONSISTENT


def refuse_present(keys: str | None) -> None:
    """An audit changes nothing, so the file of keys is a new one."""
    if keys is not None and os.path.lexists(keys):
        raise RefusedError(
            f"{keys} is there already, and an audit replaces nothing.",
            safe=UNTOUCHED,
            next="Give --keys a name that is free.",
        )
