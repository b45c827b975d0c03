"""`batten show`: what an output holds, and how it came about."""

from __future__ import annotations

import argparse
from functools import partial

NAME = "show"
HELP = "accounts, quarantined items with their errors, runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="while a run is at work: its rate, items in hand, failures by kind",
    )
    parser.add_argument(
        "--usage", action="store_true", help="what the calls of each item used, by its key"
    )
    parser.add_argument(
        "--inputs",
        action="store_true",
        help="also what a run would find changed, gone or new in the source; may take long",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all items")


def execute(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from batten.cli.output import emit
    from batten.cli.text.overview_text import QUARANTINED_SHOWN, list_lines
    from batten.garbage import collector_paused
    from batten.inspect.show import show
    from batten.model.words import State

    look = partial(
        show,
        arguments.path,
        lists_usage=arguments.usage,
        quarantined_max=None if arguments.json else QUARANTINED_SHOWN,
    )
    # What is read by the hundred thousand has no cycles.
    with collector_paused():
        if arguments.inputs:
            from batten.chain.inputs import InputsLook

            inputs = InputsLook()
            overview = replace(look(look=inputs), hints=inputs.told)
        else:
            overview = look()
    if arguments.watch and overview.diagnosis.state is State.RUNNING:
        from batten.cli.looking.watching import watch

        if not watch(arguments.path, is_json=arguments.json):
            return 0
        overview = look()
    emit(overview, list_lines(overview), is_json=arguments.json)
    return 0
