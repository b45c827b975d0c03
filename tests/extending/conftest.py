"""The package of `docs/guides/extending.md`, made from the page, and installed into a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "extending.md"

_BLOCK = re.compile(r"^`([\w.]+)`(?:, continued)?:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_files(page: Path) -> dict[str, str]:
    """What the page says stands in each file."""
    files: dict[str, str] = {}
    for name, text in _BLOCK.findall(page.read_text()):
        files[name] = files.get(name, "") + text
    return files


@dataclass(frozen=True)
class Installed:
    """A folder of packages on the path, and one for jobs."""

    packages: Path
    folder: Path

    def install(
        self, name: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]
    ) -> None:
        """A package with these modules and entry points, as an installer leaves it."""
        for file, text in modules.items():
            (self.packages / file).write_text(text)
        info = self.packages / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in each.items())
            for group, each in points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))

    def uninstall(self, name: str) -> None:
        info = self.packages / f"{name.replace('-', '_')}-1.0.dist-info"
        for file in info.iterdir():
            file.unlink()
        info.rmdir()

    def python(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.packages),
                "XDG_CACHE_HOME": str(self.packages / "caches"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def batten(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "batten", *words, **environment)


@pytest.fixture
def page() -> dict[str, str]:
    return read_files(PAGE)


@pytest.fixture
def bare(tmp_path: Path) -> Installed:
    """Without any package."""
    made = Installed(packages=tmp_path / "packages", folder=tmp_path / "jobs")
    made.packages.mkdir()
    made.folder.mkdir()
    return made


@pytest.fixture
def drawer(bare: Installed, page: dict[str, str]) -> Installed:
    """With the package of the page."""
    project = tomllib.loads(page["pyproject.toml"])["project"]
    bare.install(
        project["name"], project["entry-points"], {"batten_drawer.py": page["batten_drawer.py"]}
    )
    for name, text in page.items():
        if name not in ("pyproject.toml", "batten_drawer.py"):
            (bare.folder / name).write_text(text)
    return bare
