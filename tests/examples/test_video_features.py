"""The example measures real clips, gives the same row for the same clip, and runs as a job."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "video_features"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job keeps things beside itself."""
    monkeypatch.chdir(tmp_path)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"video_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job file and the first clip of each of the four videos."""
    folder = tmp_path_factory.mktemp("video")
    shutil.copy(EXAMPLE / "features.py", folder)
    assert load("cut_clips").cut_clips(folder / "clips", 4) == (4, 4)
    return folder


def test_there_are_a_hundred_clips_with_names_of_their_own() -> None:
    clips = list(load("cut_clips").plan_clips())
    assert len(clips) >= 100
    assert len({clip.name for clip in clips}) == len(clips)


def test_cutting_again_makes_only_what_is_missing(folder: Path) -> None:
    clip = folder / "clips" / "bikes" / "00000.mp4"
    first = clip.read_bytes()
    clip.unlink()
    assert load("cut_clips").cut_clips(folder / "clips", 4) == (4, 1)
    assert clip.read_bytes() == first
    assert not list(folder.rglob("*.tmp"))


def test_features_say_what_is_in_the_clip(folder: Path) -> None:
    features = load("features")
    bikes = features.measure(folder / "clips" / "bikes" / "00000.mp4")
    assert (bikes["frames"], bikes["fps"], bikes["seconds"]) == (25, 25.0, 1.0)
    assert (bikes["width"], bikes["height"]) == (480, 204)
    assert 0 < bikes["vmaf"] < 100
    assert 20 < bikes["psnr"] < 60
    pristine, distorted = (
        features.measure(folder / "clips" / f"carphone_{kind}" / "00000.mp4")
        for kind in ("pristine", "distorted")
    )
    assert pristine["sharpness"] > distorted["sharpness"]
    assert pristine["motion"] > distorted["motion"]


def test_the_same_clip_gives_the_same_row(folder: Path) -> None:
    features = load("features")
    clip = folder / "clips" / "bigbuckbunny" / "00000.mp4"
    first = features.measure(clip)
    assert features.measure(clip) == first
    assert features.kept.statistics().process.hits == 1
    shutil.rmtree("kept")
    assert features.measure(clip) == first


def test_what_is_not_a_video_is_an_error_in_the_words_of_ffmpeg(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not a video")
    with pytest.raises(RuntimeError, match=r"ffmpeg: .*Invalid data"):
        load("features").measure(clip)


def test_the_job_runs(folder: Path) -> None:
    batten = str(Path(sys.executable).with_name("batten"))
    command = [batten, "run", "features.py", "--jobs", "2", "--json", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], report["rows"], report["executed_items"]) == ("complete", 4, 4)
    rows = pq.read_table(folder / "features").to_pylist()
    assert [row["key"] for row in rows] == [
        "bigbuckbunny/00000.mp4",
        "bikes/00000.mp4",
        "carphone_distorted/00000.mp4",
        "carphone_pristine/00000.mp4",
    ]


def test_when_another_feature_changes_clips_are_not_encoded_again(folder: Path) -> None:
    shutil.copytree(folder, "job", ignore=shutil.ignore_patterns("features*", "kept"))
    job = Path("job") / "features.py"
    text = (EXAMPLE / "features.py").read_text()
    batten = str(Path(sys.executable).with_name("batten"))
    command = [batten, "run", "features.py", "--fresh", "--json", "--quiet"]
    for changed in (text, text.replace("(around - 4 * middle)", "(around - 3 * middle)")):
        job.write_text(changed)
        done = subprocess.run(command, cwd="job", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["executed_items"] == 4
    total = load("features").batten.Cache("job/kept").statistics().total
    assert (total.builds, total.hits) == (4, 4)
