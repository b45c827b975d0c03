"""The guide shows what the commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import HandMade

_GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "audit.md"
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def test_commands_print_what_the_guide_shows(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips[:400])
    hand_made.write_staging(clips[380:610], tail='{"clip": "clip_0610.mp4", "fra')
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = 0
    for language, text in _BLOCK.findall(_GUIDE.read_text()):
        if language == "python":
            (hand_made.folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
            continue
        for command, shown in _COMMAND.findall(text):
            commands += 1
            result = subprocess.run(
                ["bash", "-c", command],
                cwd=hand_made.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert result.stdout == shown, command
    assert commands == 6
