"""`batten recover`: does the safe action."""

from __future__ import annotations

import argparse

from batten.model.words import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from batten.inspect.paths.output_path import Place
    from batten.inspect.recover import Recovery

NAME = "recover"
HELP = "do the safe action: rebuild records, clear orphans"
EXIT_DONE = 0
EXIT_LOOK = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument(
        "--recompute-missing",
        action="store_true",
        help="read everything, set damaged parts and the records of lost ones aside (nothing is "
        "deleted), so that the next run computes those items again",
    )
    parser.add_argument(
        "--set-aside-journal",
        action="store_true",
        help="of a tree: give up a change that can't be recovered; its journal and all that "
        "belongs to it are kept as evidence",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit
    from batten.cli.text.mending_text import list_recovery_lines
    from batten.inspect.paths.output_path import locate_output

    recovery = _recover(locate_output(arguments.path), arguments)
    emit(recovery, list_recovery_lines(recovery), is_json=arguments.json)
    # What was set aside may be half done, so whatever waits for the recovery must not go on.
    is_doubtful = not recovery.is_dry_run and recovery.diagnosis.state is State.UNKNOWN
    return EXIT_LOOK if is_doubtful else EXIT_DONE


def _recover(place: Place, arguments: argparse.Namespace) -> Recovery:
    from batten.inspect.kinds.recover_tree import recover_place
    from batten.inspect.kinds.trees import find_tree
    from batten.inspect.recover import recover_output

    tree = find_tree(place)
    if tree is not None:
        return recover_place(
            place,
            tree,
            is_dry_run=arguments.dry_run,
            should_set_aside=arguments.set_aside_journal,
        )
    return recover_output(
        place, should_recompute=arguments.recompute_missing, is_dry_run=arguments.dry_run
    )
