"""`batten recover`: does the safe action."""

from __future__ import annotations

import argparse

NAME = "recover"
HELP = "do the safe action: rebuild records, clear orphans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument(
        "--recompute-missing",
        action="store_true",
        help="read everything, set damaged parts and the records of lost ones aside (nothing is "
        "deleted), so that the next run computes those items again",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.diagnosis_text import list_lines
    from batten.cli.output import emit_lines, emit_object, escape
    from batten.inspect.place import locate_output
    from batten.inspect.recover import recover_output

    place = locate_output(arguments.path)
    recovery = recover_output(
        place, should_recompute=arguments.recompute_missing, is_dry_run=arguments.dry_run
    )
    steps = [
        {"do": step.kind.value, "path": place.show(step.path), "why": step.why}
        for step in recovery.steps
    ]
    if arguments.json:
        extra = {"dry_run": recovery.is_dry_run, "steps": steps}
        emit_object({**recovery.diagnosis.to_json(), **extra})
        return 0
    verb = "would " if recovery.is_dry_run else ""
    emit_lines(escape(f"{verb}{step['do']} {step['path']}: {step['why']}") for step in steps)
    if not steps:
        emit_lines(["There is nothing to recover."])
    emit_lines(list_lines(recovery.diagnosis))
    return 0
