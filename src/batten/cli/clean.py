"""`batten clean`: removes what dead runs left."""

from __future__ import annotations

import argparse

from batten.cli.units import parse_age
from batten.model.telling.counts import count_of

NAME = "clean"
HELP = "remove what dead runs left, and journals of changes that are of no use any more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        default=0.0,
        help="only what has at least this age: 90s, 30m, 24h, 7d",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.inspect.clean import clean_output
    from batten.inspect.output_path import locate_output
    from batten.model.telling.sizes import show_bytes
    from batten.model.words import State

    place = locate_output(arguments.path)
    cleaning = clean_output(
        place, older_than_seconds=arguments.older_than, is_dry_run=arguments.dry_run
    )
    removed = [dict(vars(orphan)) for orphan in cleaning.removed]
    size = sum(orphan.bytes for orphan in cleaning.removed)
    if arguments.json:
        emit_object(
            {
                "path": place.path,
                "dry_run": cleaning.is_dry_run,
                "removed": removed,
                "bytes": size,
                "needless": [dict(vars(journal)) for journal in cleaning.needless],
                "kept": cleaning.kept,
                "found": cleaning.diagnosis.state.value,
            }
        )
        return 0
    if cleaning.diagnosis.state is State.NEW:
        emit_lines([f"There is nothing to clean: no output {place.path}."])
        return 0
    verb = "would remove" if cleaning.is_dry_run else "removed"
    emit_lines(f"{verb} {orphan.path}" for orphan in cleaning.removed)
    emit_lines([f"{verb} {count_of(len(removed), 'file')} of dead runs, {show_bytes(size)}"])
    emit_lines(f"{verb} {journal.path}" for journal in cleaning.needless)
    if cleaning.needless:
        count = count_of(len(cleaning.needless), "journal")
        emit_lines([f"{verb} {count} of changes that later ones have covered"])
    if cleaning.kept:
        emit_lines([f"kept {cleaning.kept} that are younger, or may be the only copy"])
    return 0
