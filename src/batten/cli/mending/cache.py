"""`batten cache`: what a cache holds, clearing it up, reading it through."""

from __future__ import annotations

import argparse

from batten.cli.units import parse_size

NAME = "cache"
HELP = "look at a cache, clear it up, read it through"

EXIT_SOUND = 0
EXIT_DAMAGED = 4


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
    from batten.cache.clearing.inspection import clean_cache, show_cache, verify_cache
    from batten.cli.output import emit
    from batten.cli.text.cache_text import list_cleaning, list_damage, list_overview

    is_json = arguments.json
    if arguments.verb == "show":
        overview = show_cache(arguments.path)
        emit(overview, list_overview(overview), is_json=is_json)
        return EXIT_SOUND
    if arguments.verb == "verify":
        found = verify_cache(arguments.path, should_set_aside=arguments.set_aside)
        emit(found, list_damage(found), is_json=is_json)
        return EXIT_SOUND if found.is_sound else EXIT_DAMAGED
    is_all = arguments.verb == "clear"
    cleaning = clean_cache(
        arguments.path,
        max_bytes=0 if is_all else arguments.max_bytes,
        is_any_age=is_all,
        is_dry_run=arguments.dry_run,
    )
    emit(cleaning, list_cleaning(cleaning), is_json=is_json)
    return EXIT_SOUND
