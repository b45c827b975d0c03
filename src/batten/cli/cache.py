"""`batten cache`: what a cache holds, clearing it up, reading it through."""

from __future__ import annotations

import argparse

from batten.cli.units import parse_size
from batten.model.telling.commands import as_path, command
from batten.model.telling.counts import count_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from batten.cache.inspection import CacheCleaning, CacheOverview, CacheVerification

NAME = "cache"
HELP = "look at a cache, clear it up, read it through"

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "each VERB takes PATH, --json and --help"
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, help_line in (
        ("show", "entries, bytes, counts, what is left over; reads only"),
        ("clean", "remove what is left over and, with --max-bytes, what is too much"),
        ("verify", "read every byte of every entry; changes nothing without --set-aside"),
        ("clear", "remove everything that is not in use"),
    ):
        command = commands.add_parser(verb, help=help_line, description=help_line)
        command.add_argument("path", metavar="PATH", help="the folder of the cache")
        command.add_argument("--json", action="store_true", help="print one JSON object")
        if verb in ("clean", "clear"):
            command.add_argument("--dry-run", action="store_true", help="say what would be removed")
        if verb == "clean":
            command.add_argument(
                "--max-bytes",
                metavar="SIZE",
                type=parse_size,
                help="how much may stay, those used last: 500M, 20G",
            )
        if verb == "verify":
            command.add_argument(
                "--set-aside", action="store_true", help="move damaged entries away"
            )


def execute(arguments: argparse.Namespace) -> int:
    from batten.cache.inspection import clean_cache, show_cache, verify_cache

    match arguments.verb:
        case "show":
            return _tell_overview(show_cache(arguments.path), arguments.json)
        case "verify":
            found = verify_cache(arguments.path, should_set_aside=arguments.set_aside)
            return _tell_verification(found, arguments.json)
        case "clean":
            cleaning = clean_cache(
                arguments.path, max_bytes=arguments.max_bytes, is_dry_run=arguments.dry_run
            )
        case _:
            cleaning = clean_cache(
                arguments.path, max_bytes=0, is_any_age=True, is_dry_run=arguments.dry_run
            )
    return _tell_cleaning(cleaning, arguments.json)


def _tell_overview(overview: CacheOverview, is_json: bool) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.cli.text.diagnosis_text import labelled
    from batten.model.telling.sizes import show_bytes

    counts = overview.counts
    if is_json:
        emit_object(
            {
                "path": overview.path,
                "entries": overview.entries,
                "bytes": overview.bytes,
                "in_use": overview.in_use,
                "counts": dict(vars(counts)),
                "leftovers": [_as_object(each) for each in overview.leftovers],
            }
        )
        return 0
    emit_lines(
        [
            overview.path,
            labelled("entries", f"{overview.entries}, {show_bytes(overview.bytes)}"),
            labelled("in use", str(overview.in_use)),
            labelled("lookups", f"{counts.hits} hits, {counts.misses} misses"),
            labelled("builds", f"{counts.builds}, and {counts.waits} waits for another's"),
            labelled("not kept", f"{counts.publish_failures}"),
            labelled("failures", f"{counts.failures} lookups could not use the cache"),
            labelled("evicted", f"{counts.evictions}, {show_bytes(counts.evicted_bytes)}"),
            labelled("damaged", f"{counts.set_aside} set aside"),
            labelled("cut off", f"{counts.abandoned_builds} builds"),
            labelled("over", f"{show_bytes(counts.held_over_budget)} held by entries in use"),
            labelled("left", f"{count_of(len(overview.leftovers), 'leftover')} to clean"),
        ]
    )
    return 0


def _tell_verification(found: CacheVerification, is_json: bool) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.model.telling.sizes import show_bytes

    is_sound = len(found.damaged) == len(found.set_aside)
    if is_json:
        emit_object(dict(vars(found)))
        return 0 if is_sound else 4
    emit_lines(f"damaged {path}" for path in found.damaged[:_SHOWN])
    if len(found.damaged) > _SHOWN:
        emit_lines([f"and {len(found.damaged) - _SHOWN} more; --json lists them all"])
    emit_lines(
        [f"{count_of(found.entries, 'whole entry', 'whole entries')}, {show_bytes(found.bytes)}"]
    )
    if found.damaged:
        emit_lines([f"{len(found.damaged)} damaged, {len(found.set_aside)} set aside"])
    if not is_sound:
        emit_lines([f"next: {command('cache', 'verify', as_path(found.path), '--set-aside')}"])
    return 0 if is_sound else 4


def _tell_cleaning(cleaning: CacheCleaning, is_json: bool) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.model.telling.sizes import show_bytes

    size = sum(each.bytes for each in cleaning.evicted)
    if is_json:
        emit_object(
            {
                "path": cleaning.path,
                "dry_run": cleaning.is_dry_run,
                "leftovers": [_as_object(each) for each in cleaning.leftovers],
                "evicted": [dict(vars(each)) for each in cleaning.evicted],
                "evicted_bytes": size,
                "in_use": cleaning.in_use,
                "bytes": cleaning.bytes,
                "held_over_budget": cleaning.held_over_budget,
            }
        )
        return 0
    verb = "would remove" if cleaning.is_dry_run else "removed"
    emit_lines(f"{verb} {each.path} ({each.kind})" for each in cleaning.leftovers)
    emit_lines(
        [f"{verb} {count_of(len(cleaning.evicted), 'entry', 'entries')}, {show_bytes(size)}"]
    )
    emit_lines([f"{show_bytes(cleaning.bytes)} stay"])
    if cleaning.in_use:
        held = show_bytes(cleaning.held_over_budget)
        emit_lines([f"{cleaning.in_use} stay because they are in use, {held} too much"])
    return 0


def _as_object(leftover: Any) -> dict[str, Any]:
    return {
        "kind": leftover.kind.value,
        "path": leftover.path,
        "age_seconds": round(leftover.age_seconds),
    }
