"""Contact sheets of video clips: `renders.py CLIPS SHEETS [--cache FOLDER]`.

Several renders, each in a process of its own, all at once. They share clips, so one extracts what
the others find. A second run extracts nothing, and makes the same bytes.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import traceback
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

import batten

Picture = npt.NDArray[np.uint8]

COLUMNS = 4

TRANSFORMS = {
    "as is": "null",
    "gray": "format=gray",
    "warm": "colorbalance=rs=0.2:bs=-0.2",
    "negative": "negate",
}


@dataclass(frozen=True)
class Shot:
    """Frames of a clip: from when on, for how long, how many a second, how wide, which colours."""

    clip: Path
    start_seconds: float
    seconds: float
    rate: float
    width: int
    transform: str


def plan_renders(clips: list[Path]) -> dict[str, list[Shot]]:
    """The shots of each render by its name."""
    overview = [Shot(clip, 0, 1, 4, 160, "as is") for clip in clips]
    return {
        "overview": overview,
        "overview-again": overview[:1] + [Shot(clip, 0, 1, 4, 160, "gray") for clip in clips],
        "colours": [Shot(clip, 0.2, 0.5, 8, 160, name) for clip in clips for name in TRANSFORMS],
        "large": [Shot(clip, 0, 1, 4, 320, "as is") for clip in clips],
    }


def extract(shot: Shot, folder: Path) -> None:
    """Write the frames as files. ffmpeg runs in one thread, with nothing that varies."""
    picture = f"fps={shot.rate},scale={shot.width}:-2,{TRANSFORMS[shot.transform]},format=rgb24"
    stretch = ("-ss", str(shot.start_seconds), "-t", str(shot.seconds))
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-threads", "1"),
        *(*stretch, "-i", str(shot.clip), "-vf", picture, "-bitexact", "-threads", "1"),
        str(folder / "frame-%04d.ppm"),
    ]
    subprocess.run(command, check=True)


def find_frames(cache: batten.Cache, shot: Shot) -> batten.CacheEntry:
    """The key is the function, all that it is told, and the version of the program that it runs:
    a transform more is a field more, and can't be forgotten."""
    key = (extract, asdict(shot), TRANSFORMS[shot.transform], imageio_ffmpeg.get_ffmpeg_version())
    return cache.get_or_create(key, lambda folder: extract(shot, folder))


def render(cache: batten.Cache, shots: list[Shot], sheet: Path) -> None:
    """Put all frames of the shots on one sheet. The frames stay until they are read."""
    with ExitStack() as using:
        entries = [using.enter_context(find_frames(cache, shot)) for shot in shots]
        frames = [read_frame(path) for entry in entries for path in sorted(entry.path.iterdir())]
    height, width = max(f.shape[0] for f in frames), max(f.shape[1] for f in frames)
    rows = -(-len(frames) // COLUMNS)
    picture = np.zeros((rows * height, COLUMNS * width, 3), np.uint8)
    for number, frame in enumerate(frames):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        picture[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    with batten.publish_file(sheet) as file:
        file.write(encode_png(picture))


def read_frame(path: Path) -> Picture:
    """A picture in the plain format PPM: type, size, largest value, each on a line; then bytes."""
    _, size, _, body = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(body, np.uint8).reshape(height, width, 3)


def encode_png(picture: Picture) -> bytes:
    """Rows without a filter, compressed; the same picture gives the same bytes."""
    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def start(work: Callable[[], None]) -> int:
    """Do it in a process of its own; gives its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--cache", type=Path, help="its folder; by default the user's own")
    arguments = parser.parse_args()
    cache = batten.Cache(arguments.cache)
    before = cache.statistics().total
    arguments.sheets.mkdir(parents=True, exist_ok=True)

    def work(name: str, shots: list[Shot]) -> None:
        render(cache, shots, arguments.sheets / f"{name}.png")

    renders = plan_renders(sorted(arguments.clips.rglob("*.mp4")))
    children = [start(lambda n=name, s=shots: work(n, s)) for name, shots in renders.items()]  # type: ignore[misc]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    after = cache.statistics().total
    shots = sum(map(len, renders.values()))
    print(
        f"{len(renders)} sheets of {shots} shots, {after.builds - before.builds} of them extracted"
    )
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())
