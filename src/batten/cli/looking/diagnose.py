"""`batten diagnose`: the state of an output, or of several, and the one safe action."""

from __future__ import annotations

import argparse

from batten.cli.units import parse_age
from batten.errors import usage_error
from batten.garbage import collector_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from batten.inspect.diagnosis import Diagnosis
    from batten.inspect.survey import Survey

NAME = "diagnose"
HELP = "name the state of an output and the one safe action; reads only"
EPILOG = (
    "exit codes: 0 nothing to do (COMPLETE, RUNNING), 10 run the job (NEW, INTERRUPTED, STALE), "
    "11 clean (COMPLETE_WITH_ORPHANS), 12 recover (RECOVERY_PENDING), "
    "4 stop (INCONSISTENT, CORRUPT), 5 look by hand (UNKNOWN)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
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
    parser.add_argument(
        "--inputs",
        action="store_true",
        help="also look whether files and records that it was made of have changed; may take long",
    )
    parser.add_argument(
        "--upstream",
        action="store_true",
        help="also show the datasets that it was made of, and whether each is up to date",
    )
    foreign = parser.add_argument_group("for a layout that is not batten's, in the place of PATH")
    foreign.add_argument("--final", metavar="PATH", help="as 'out/refunds_{run_date}.csv'")
    foreign.add_argument("--staging", metavar="PATTERN", help="as '_staging/{run_date}.*.csv'")
    foreign.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="VALUES",
        help="which run, as 2026-04-24 or 2026-04-01..2026-04-30; NAME=VALUES where there are more",
    )
    foreign.add_argument(
        "--fresh-for",
        type=parse_age,
        metavar="AGE",
        help="a final file older than this is of an earlier run: 90s, 30m, 6h, 7d",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    _check(arguments)
    with collector_paused():
        return _diagnose(arguments)


def _diagnose(arguments: argparse.Namespace) -> int:
    from batten.inspect.survey import is_survey

    if arguments.final is not None:
        return _diagnose_foreign(arguments)
    if is_survey(arguments.paths, arguments.expect):
        _refuse_far_look(arguments)
        from batten.inspect.survey import survey

        return _show_all(survey(arguments.paths, arguments.expect), is_json=arguments.json)
    if arguments.upstream:
        return _show_chain(arguments)
    if arguments.inputs:
        from batten.chain.inputs import diagnose_inputs

        return _show(diagnose_inputs(arguments.paths[0]), is_json=arguments.json)
    from batten.inspect.diagnose import diagnose

    return _show(diagnose(arguments.paths[0]), is_json=arguments.json)


def _refuse_far_look(arguments: argparse.Namespace) -> None:
    if arguments.inputs or arguments.upstream:
        raise usage_error(
            "batten diagnose: --inputs and --upstream are for one output at a time.",
            "Name one output.",
        )


def _show_chain(arguments: argparse.Namespace) -> int:
    from batten.chain.walk import diagnose_chain
    from batten.cli.looking.screen import find_size, fit
    from batten.cli.output import emit
    from batten.cli.text.chain_text import list_lines

    chain = diagnose_chain(arguments.paths[0], with_inputs=arguments.inputs)
    lines, size = list_lines(chain), None if arguments.json else find_size()
    shown = fit(lines, *size) if size is not None else lines
    emit(chain, shown, is_json=arguments.json)
    return chain.last.exit_code


def _check(arguments: argparse.Namespace) -> None:
    is_foreign = arguments.final is not None
    has_foreign = arguments.staging is not None or arguments.run or arguments.fresh_for is not None
    problem = ""
    if not is_foreign and not arguments.paths:
        problem = "a PATH is missing"
    elif is_foreign and (arguments.paths or arguments.expect):
        problem = "--final takes the place of PATH and --expect"
    elif is_foreign and (arguments.inputs or arguments.upstream):
        problem = "--inputs and --upstream are for outputs of batten"
    elif has_foreign and not is_foreign:
        problem = "--staging, --run and --fresh-for need --final"
    if problem:
        raise usage_error(f"batten diagnose: {problem}.", "Look at: batten diagnose --help")


def _diagnose_foreign(arguments: argparse.Namespace) -> int:
    from batten.strangers.diagnose import ForeignLayout, survey_foreign

    layout = ForeignLayout(
        final=arguments.final, staging=arguments.staging, fresh_for_seconds=arguments.fresh_for
    )
    found = survey_foreign(layout, arguments.run)
    if len(found.diagnoses) == 1:
        return _show(found.diagnoses[0], is_json=arguments.json)
    return _show_all(found, is_json=arguments.json)


def _show(diagnosis: Diagnosis, *, is_json: bool) -> int:
    from batten.cli.looking.screen import find_size, fit
    from batten.cli.output import emit
    from batten.cli.text.diagnosis_text import list_lines

    lines, size = list_lines(diagnosis), None if is_json else find_size()
    emit(diagnosis, fit(lines, *size) if size is not None else lines, is_json=is_json)
    return diagnosis.exit_code


def _show_all(found: Survey, *, is_json: bool) -> int:
    from batten.cli.output import emit
    from batten.cli.text.survey_text import list_lines

    emit(found, list_lines(found), is_json=is_json)
    return found.exit_code
