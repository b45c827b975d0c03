"""What users install: a wheel and a source distribution, built of this tree, into an environment
that has nothing of it."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

import batten

ROOT = Path(__file__).parents[2]
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
BUILD = (*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")


def call(*words: str | Path, cwd: Path) -> str:
    # What a developer has set for Python must not lead back to this tree.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(
        list(map(str, words)), cwd=cwd, env=own, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that building leaves nothing in the tree that others work in."""
    folder = tmp_path_factory.mktemp("tree")
    for name in NEEDED:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("tests", "docs"):
        (folder / name).mkdir()
        (folder / name / "test_local.py").write_text("")
    (folder / ".env").write_text("KEY=local\n")
    return folder


@pytest.fixture(scope="module")
def source(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    script = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    call(sys.executable, "-W", "error", "-c", script, cwd=tree)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the source distribution, as where no wheel fits."""
    folder = tmp_path_factory.mktemp("wheel")
    call(*BUILD, "--wheel-dir", folder, source, cwd=folder)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it. What the tests' own environment has beside batten is
    seen from there, so that nothing has to be fetched."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    call(*PIP, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel,
         cwd=folder.parent)  # fmt: skip
    import pyarrow

    beside = folder.parent / "beside"
    beside.mkdir()
    site = Path(pyarrow.__file__).parents[1]
    for found in site.iterdir():
        if found.name.partition("-")[0] in ("pyarrow", "pyarrow.libs"):
            (beside / found.name).symlink_to(found)
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    (Path(paths["purelib"]) / "beside.pth").write_text(f"{beside}\n")
    return folder


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def list_modules() -> set[str]:
    return {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "batten").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"batten-{batten.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    own = {name for name in names if not name.startswith(f"batten-{batten.__version__}.dist-info/")}
    assert own == list_modules()
    assert "batten/py.typed" in own
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_source_has_nothing_of_this_machine(source: Path) -> None:
    assert source.name == f"batten-{batten.__version__}.tar.gz"
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {name.partition("/")[0] for name in names} - {""}
    assert top <= {*NEEDED, "PKG-INFO", "setup.cfg", "src", "tests"}
    assert {f"src/{each}" for each in list_modules()} <= names


def test_the_metadata_is_whole(wheel: Path) -> None:
    metadata = read_metadata(wheel)
    assert metadata["Name"] == "batten"
    assert metadata["Version"] == batten.__version__
    assert metadata["Author"] == "batten contributors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Requires-Python"].replace(" ", "").split(",") == ["<3.15", ">=3.11"]
    assert set(metadata["Keywords"].split(",")) == set(PROJECT["keywords"])
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Project-URL" not in metadata
    needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert [re.split(r"[<>=]", each)[0] for each in needed] == ["pyarrow"]


def test_each_python_that_is_allowed_is_tested() -> None:
    """What is said in five places is one list: decision 0045."""
    found = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"])
    assert found is not None
    versions = [f"3.{minor}" for minor in range(int(found[1]), int(found[2]))]
    classified = [
        each.rpartition(" ")[2]
        for each in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    ]
    assert classified == versions
    assert f"for wanted in {' '.join(versions)}; do" in (ROOT / "tools/interpreters.sh").read_text()
    setup = (ROOT / "tools/setup.sh").read_text()
    assert f"(3, {found[1]}) <= sys.version_info < (3, {found[2]})" in setup
    assert all(f"python{version}" in setup for version in versions)
    makefile = (ROOT / "Makefile").read_text()
    assert f"every Python from {versions[0]} to {versions[-1]}" in makefile


def test_each_path_of_tests_that_the_makefile_names_is_there() -> None:
    """`make test-others` runs in CI alone, where other versions of Python are."""
    named = re.findall(r"\btests(?:/\w+)+(?:\.py)?", (ROOT / "Makefile").read_text())
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_an_environment_runs_the_command(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "batten"
    told = call(installed / "bin" / "python", "-c", "import batten; print(batten.__file__)",
                cwd=tmp_path)  # fmt: skip
    assert Path(told.strip()).is_relative_to(installed)
    assert call(command, "--version", cwd=tmp_path) == f"batten {batten.__version__}\n"
    call(command, "init", cwd=tmp_path)
    call(command, "run", "job.py", "--limit", "2", "--jobs", "1", cwd=tmp_path)
    again = call(installed / "bin" / "python", "-m", "batten", "run", "job.py", "--limit", "2",
                 "--json", cwd=tmp_path)  # fmt: skip
    assert '"committed": 2' in again


def test_a_command_of_the_packages_name_is_what_pipx_runs(installed: Path) -> None:
    assert PROJECT["scripts"] == {PROJECT["name"]: "batten.cli.main:main"}
    made = {path.name for path in (installed / "bin").iterdir() if "batten" in path.name}
    assert made == {"batten"}


@pytest.mark.parametrize("name", ["prometheus_client", "opentelemetry", "pytest", "obstore"])
def test_nothing_of_the_tests_is_needed(installed: Path, tmp_path: Path, name: str) -> None:
    script = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert call(installed / "bin" / "python", "-c", script, cwd=tmp_path) == "None\n"
