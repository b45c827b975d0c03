"""Where no seed is given, all that is random in the tests starts from the usual one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TOLD = """
import hypothesis

def test_it(seeded):
    print("drawn", seeded.random(), "derandomized", hypothesis.settings().derandomize)
"""


def own_environment() -> dict[str, str]:
    """Without what a `make` or a user that runs these tests chose."""
    chosen = ("BATTEN_", "MAKE", "MFLAGS", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(chosen)}


def run_tests(folder: Path, **given: str) -> str:
    """What a test of its own tells, under the configuration of all tests, in a fresh process."""
    (folder / "test_it.py").write_text(TOLD)
    own = own_environment()
    words = ["-m", "pytest", "-s", "-p", "conftest", "-c", os.devnull, "--rootdir", "."]
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [own.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, *words, "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder,
        env=own | {"PYTHONPATH": path} | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def drawn(told: str) -> str:
    return told.partition("drawn ")[2].split()[0]


def test_the_seed_of_the_tests(tmp_path: Path) -> None:
    usual, another = run_tests(tmp_path), run_tests(tmp_path, BATTEN_SEED="7")
    assert "BATTEN_SEED=1\n" in usual
    assert "derandomized True" in usual
    assert drawn(usual) == drawn(run_tests(tmp_path))
    assert "BATTEN_SEED=7\n" in another
    assert "derandomized False" in another
    assert drawn(usual) != drawn(another)


def test_the_seed_of_make(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        f"include {ROOT / 'Makefile'}\ntell-seed:\n\t@echo seed $$BATTEN_SEED\n"
    )
    words = ["make", "--no-print-directory", "tell-seed"]
    try:
        ended = subprocess.run(
            words, cwd=tmp_path, env=own_environment(), capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("make is not here")
    assert ended.stdout.endswith("seed 1\n"), ended.stdout
