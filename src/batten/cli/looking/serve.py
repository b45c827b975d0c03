"""`batten serve`: the page of outputs, live, for this machine alone."""

from __future__ import annotations

import argparse

from batten.cli.looking.report import add_paths

NAME = "serve"
HELP = "show the page live in a browser, for runs at work; this machine alone, read only"
EPILOG = (
    "it ends at Ctrl-C. Whoever can log in to this machine can read the page. exit codes: "
    "0 ended, 2 usage, 7 the port is taken"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser)
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="the port (default: one that is free)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, with the address"
    )


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit_lines, emit_object, flush_output
    from batten.page.serving import LivePages, PageServer

    pages = LivePages(arguments.paths, arguments.expect)
    pages.check()
    with PageServer(pages, arguments.port) as server:
        if arguments.json:
            emit_object({"url": server.url})
        else:
            emit_lines([f"{server.url}  ends at Ctrl-C"])
        flush_output()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
