"""A thumbnail and a contact sheet of each video clip: `batten run thumbs.py --jobs 2`.

ffmpeg runs in one thread and with nothing that varies, so the same clip gives the same files.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg

import batten

COLUMNS, ROWS = 4, 3
SHEET_WIDTH, THUMBNAIL_WIDTH = 120, 160


def picture(clip: Path, folder: Path) -> dict[str, bytes | Path]:
    """The thumbnail as bytes, and the sheet as a file that ffmpeg wrote in the folder."""
    sheet = folder / "sheet.png"
    tiles = f"fps=10,scale={SHEET_WIDTH}:-2,tile={COLUMNS}x{ROWS}"
    ffmpeg(clip, tiles, str(sheet))
    return {
        "thumbnail": ffmpeg(clip, f"thumbnail,scale={THUMBNAIL_WIDTH}:-2", "-"),
        "sheet": sheet,
    }


def ffmpeg(clip: Path, filters: str, target: str) -> bytes:
    """What ffmpeg writes to standard output; its last words as the error when it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-threads", "1"]
    command += ["-filter_threads", "1", "-i", str(clip), "-vf", filters, "-frames:v", "1"]
    command += ["-bitexact", "-threads", "1", "-c:v", "png", "-f", "image2pipe", target]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").splitlines() or [f"exit {done.returncode}"]
        raise RuntimeError(f"ffmpeg: {words[-1]}")
    return done.stdout


pipeline = (
    batten.from_files("clips/**/*.mp4", removed="drop")
    .map(picture, retries=2)
    .options(batch_size=16)
    .write_files("thumbs/{stem}/{name}.png")
)
