"""Commands in messages: whatever is in a name, a shell gives it back, and a terminal is safe."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from batten.cli.main import make_parser
from batten.model.telling.commands import as_path, command, join_words, quote

ODD = [
    "plain",
    "with space",
    "it's",
    '"double"',
    "line\nbreak",
    "\x1b[31mred",
    "tab\tand\\backslash'quote",
    "right\u202eto left",
    "\x9b31m",
    "caf\u00e9",
    "\udcff\udc80not utf-8",
    "\x011",
    "\x7f7",
    "$HOME `id` $(id) !! *?[a] ~ #",
    "-rf",
    "",
]


@pytest.mark.parametrize("word", ODD)
def test_a_shell_gives_the_word_back(word: str) -> None:
    line = quote(word)
    assert line.isprintable()
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {line}"], capture_output=True, check=True
    ).stdout
    assert printed == os.fsencode(word)


def test_random_words_come_back() -> None:
    seed = int(os.environ.get("BATTEN_SEED", "5"))
    chance = random.Random(seed)
    bytes_of = [bytes(chance.randrange(1, 256) for _ in range(12)) for _ in range(200)]
    words = [os.fsdecode(data) for data in bytes_of]
    line = join_words("printf", "%s\\0", *words)
    assert line.isprintable()
    printed = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == bytes_of, f"BATTEN_SEED={seed}"


def test_a_surrogate_that_stands_for_no_byte_is_shown_too() -> None:
    assert quote("a\ud800") == r"$'a\355\240\200'"


def test_a_path_is_never_taken_for_an_option(tmp_path: Path) -> None:
    assert command("verify", as_path("-q")) == "batten verify ./-q"
    assert as_path("/-q") == "/-q"
    assert make_parser("verify").parse_args([as_path("--json")]).path == "./--json"
