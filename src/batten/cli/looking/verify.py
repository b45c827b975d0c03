"""`batten verify`: reads every byte."""

from __future__ import annotations

import argparse

NAME = "verify"
HELP = "read every byte: digests, rows, accounts by key; changes nothing"
EXIT_SOUND = 0
EXIT_DAMAGED = 4
EXIT_BEHIND = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the output of a job")
    parser.add_argument("--quick", action="store_true", help="sizes and counts only")
    parser.add_argument(
        "--ask",
        action="store_true",
        help="also ask servers which batches they have; user and password from the environment",
    )
    parser.add_argument(
        "--upstream",
        action="store_true",
        help="also the datasets that it was made of, and the keys from each to the next",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit

    if arguments.upstream:
        return _verify_chain(arguments)
    from batten.cli.text.verification_text import list_lines
    from batten.inspect.verifying.verify import verify

    verification = verify(arguments.path, is_quick=arguments.quick, should_ask=arguments.ask)
    emit(verification, list_lines(verification), is_json=arguments.json)
    return EXIT_SOUND if verification.is_sound else EXIT_DAMAGED


def _verify_chain(arguments: argparse.Namespace) -> int:
    from batten.chain.verifying import verify_chain
    from batten.cli.output import emit
    from batten.cli.text.chain_text import list_verified_lines

    chain = verify_chain(arguments.path, is_quick=arguments.quick, should_ask=arguments.ask)
    emit(chain, list_verified_lines(chain), is_json=arguments.json)
    if chain.damaged:
        return EXIT_DAMAGED
    return EXIT_BEHIND if chain.is_behind else EXIT_SOUND
