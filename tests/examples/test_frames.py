"""The frames: renders that share clips extract each shot once; a warm run extracts nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing.inspection import verify_cache

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first clip of each of two videos."""
    name = EXAMPLES / "video_features" / "cut_clips.py"
    spec = importlib.util.spec_from_file_location("frames_cut_clips", name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    folder: Path = tmp_path_factory.mktemp("frames")
    module.cut_clips(folder, 2)
    return folder


def render(clips: Path, folder: Path, sheets: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, EXAMPLES / "frames" / "renders.py", clips, sheets, "--cache", "kept"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_each_shot_is_extracted_once(clips: Path, tmp_path: Path) -> None:
    # Of the overview one shot is used by two renders.
    assert render(clips, tmp_path, "cold") == "4 sheets of 15 shots, 14 of them extracted\n"
    assert render(clips, tmp_path, "warm") == "4 sheets of 15 shots, 0 of them extracted\n"
    sheets = read(tmp_path / "cold")
    assert len(sheets) == 4
    assert all(data.startswith(b"\x89PNG") for data in sheets.values())
    assert len(set(sheets.values())) == 4
    assert read(tmp_path / "warm") == sheets
    assert verify_cache(tmp_path / "kept").damaged == []
    assert Cache(tmp_path / "kept").statistics().entries == 14
    uncached = render(clips, tmp_path, "uncached", BATTEN_DISABLE_CACHE="1")
    assert "extracted" in uncached
    assert read(tmp_path / "uncached") == sheets
