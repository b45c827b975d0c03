"""`batten report`: outputs as one page of HTML."""

from __future__ import annotations

import argparse

NAME = "report"
HELP = "write one page of HTML: state, safe action, accounts, failures, runs, lineage"
EPILOG = "exit codes: 0 the page is written, 2 usage, 5 refused, 7 the page can't be written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="report.html",
        help="the file to make, or the page to replace (default: report.html); - prints it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Which outputs a page is of, said as for `diagnose`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="the output of a job; several, or a pattern such as 'out/refunds_*.csv'",
    )
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="what should be there: run_date=2026-04-01..2026-04-30, hour=00..23, region=eu,us",
    )


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit_lines, emit_object, tell
    from batten.cli.standard_output import StandardOutput, is_standard_output
    from batten.inspect.absent import absent_error
    from batten.inspect.diagnose import diagnose
    from batten.model.telling.counts import count_of
    from batten.model.telling.sizes import show_bytes
    from batten.model.words import State
    from batten.page.clock import tell_time
    from batten.page.document import make_page
    from batten.page.writing import check_target, encode_page, write_page

    is_printed = is_standard_output(arguments.output, is_json=arguments.json)
    target = arguments.output if is_printed else check_target(arguments.output)
    page = make_page(arguments.paths, arguments.expect, tell_time())
    if not arguments.expect and set(page.states.values()) == {State.NEW}:
        raise absent_error(diagnose(next(iter(page.states))))
    data = encode_page(page.html)
    if is_printed:
        StandardOutput().write(data)
    else:
        write_page(target, data)
    size = len(data)
    if arguments.json:
        seen = [{"path": path, "state": state.value} for path, state in page.states.items()]
        emit_object({"file": target, "bytes": size, "states": page.count(), "outputs": seen})
    else:
        states = ", ".join(f"{count:,} {state}" for state, count in page.count().items())
        outputs = count_of(len(page.states), "output")
        told = f"{target}: {outputs}, {states}; {show_bytes(size)}"
        if is_printed:
            tell(told)
        else:
            emit_lines([told])
    return 0
