"""Features of video clips, one row a clip: `batten run features.py --jobs 2`.

ffmpeg runs in one thread and with nothing that varies, so the same clip gives the same row. What
is dear, re-encoding a clip and comparing the two, is kept in a cache: where another feature is
changed, a run with `--fresh` does not do it again.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

import batten

Frames = npt.NDArray[np.int32]

kept = batten.Cache("kept")


def measure(clip: Path) -> dict[str, int | float]:
    """What the clip looks like, and what a re-encode at a low bit rate would cost it."""
    fps, frames = decode(clip)
    count, height, width = frames.shape
    cost = cost_of_reencoding(clip, imageio_ffmpeg.__version__)
    return {
        "frames": count,
        "seconds": count / fps,
        "fps": fps,
        "width": width,
        "height": height,
        "brightness": float(frames.mean()),
        "motion": motion(frames),
        "sharpness": sharpness(frames),
        **cost,
    }


def decode(clip: Path) -> tuple[float, Frames]:
    """Frames a second, and the luma of all frames as (frame, row, column)."""
    video = ffmpeg("-i", str(clip), "-pix_fmt", "gray", "-strict", "-1", "-f", "yuv4mpegpipe", "-")
    header, _, body = video.partition(b"\n")
    fields = {field[:1]: field[1:] for field in header.split()[1:]}
    width, height = int(fields[b"W"]), int(fields[b"H"])
    numerator, denominator = map(int, fields[b"F"].split(b":"))
    # Each frame is the line "FRAME" and then its pixels.
    frames = np.frombuffer(body, np.uint8).reshape(-1, len(b"FRAME\n") + width * height)
    luma = frames[:, len(b"FRAME\n") :].reshape(-1, height, width)
    return numerator / denominator, luma.astype(np.int32)


def motion(frames: Frames) -> float:
    """Mean absolute difference between a frame and the next."""
    return float(np.abs(np.diff(frames, axis=0)).mean()) if len(frames) > 1 else 0.0


def sharpness(frames: Frames) -> float:
    """Variance of the Laplacian, averaged over the frames: blurred pictures have little."""
    middle = frames[:, 1:-1, 1:-1]
    around = frames[:, :-2, 1:-1] + frames[:, 2:, 1:-1] + frames[:, 1:-1, :-2] + frames[:, 1:-1, 2:]
    return float((around - 4 * middle).var(axis=(1, 2)).mean())


@kept.memo
def cost_of_reencoding(clip: Path, _ffmpeg: str) -> dict[str, int | float]:
    """Bytes and quality; the version of ffmpeg is part of the key."""
    reencoded = reencode(clip)
    quality = compare(reencoded, clip)
    return {
        "reencoded_bytes": len(reencoded),
        "vmaf": quality["vmaf"],
        "psnr": quality["psnr_y"],
    }


def reencode(clip: Path) -> bytes:
    """The clip as H.264 at a low bit rate."""
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "34", "-threads", "1")
    return ffmpeg("-i", str(clip), "-an", *encoder, "-bitexact", "-f", "nut", "-")


def compare(distorted: bytes, reference: Path) -> dict[str, float]:
    """VMAF and PSNR of a distorted video against its reference, means over the frames."""
    pairing = "[0:v]setpts=N/TB[distorted];[1:v]setpts=N/TB[reference];[distorted][reference]"
    vmaf = "libvmaf=n_threads=1:feature=name=psnr:log_fmt=json:log_path=/dev/stdout"
    inputs = ("-i", "-", "-threads", "1", "-i", str(reference))
    report = ffmpeg(*inputs, "-filter_complex", pairing + vmaf, "-f", "null", "-", stdin=distorted)
    pooled = json.loads(report)["pooled_metrics"]
    return {name: pooled[name]["mean"] for name in ("vmaf", "psnr_y")}


def ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    """What ffmpeg writes to standard output; its last words as the error when it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-filter_complex_threads", "1"]
    done = subprocess.run([*command, "-threads", "1", *arguments], input=stdin, capture_output=True)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").splitlines() or [f"exit {done.returncode}"]
        raise RuntimeError(f"ffmpeg: {words[-1]}")
    return done.stdout


pipeline = (
    batten.from_files("clips/**/*.mp4")
    .map(measure, retries=2)
    .options(batch_size=16)
    .write_parquet("features/")
)
