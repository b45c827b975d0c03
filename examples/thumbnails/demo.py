"""A guided tour: thumbnails and contact sheets of real clips, killed, resumed, damaged and mended
(`make demo-thumbnails`)."""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path
from typing import Any

from batten.crashlab.faults import KillBefore
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, run_traced

EXAMPLE = Path(__file__).resolve().parent
sys.path.append(str(EXAMPLE.with_name("video_features")))

from cut_clips import cut_clips  # noqa: E402

BATTEN = str(Path(sys.executable).with_name("batten"))
RUN = ("run", "thumbs.py", "--jobs", "2")
PATIENCE_SECONDS = 600
"""All clips are worked on first, which takes a busy machine more than a minute."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Tour:
    """The folder in which pictures are made, and one in which nothing is killed."""

    def __init__(self, folder: Path, clips: int | None) -> None:
        self.folder = folder
        self.undisturbed = folder / "undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        self.undisturbed.mkdir(parents=True)
        self.clips, _ = cut_clips(folder / "clips", clips)
        shutil.copytree(folder / "clips", self.undisturbed / "clips", copy_function=os.link)
        for place in (folder, self.undisturbed):
            shutil.copy(EXAMPLE / "thumbs.py", place)

    @property
    def thumbs(self) -> Path:
        return self.folder / "thumbs"

    def walk(self) -> None:
        promise(self.clips > 0, f"{self.clips} clips in {self.folder}/clips/")
        self.kill()
        self.look()
        self.resume()
        self.compare()
        self.lose_and_mend()
        self.change()

    def kill(self) -> None:
        title("Run it, and kill it in the middle")
        print(f"$ batten {' '.join(RUN)}", flush=True)
        killed = run_traced(
            [BATTEN, *RUN, "--quiet"],
            folders=[self.thumbs, Path(f"{self.thumbs}.batten")],
            working_folder=self.folder,
            # Half of the links that give the pictures of a later batch their places.
            fault=KillBefore(8, path="*/thumbs/carphone_*/*.png"),
            timeout_seconds=PATIENCE_SECONDS,
        )
        promise(killed.was_triggered, "SIGKILL to driver and workers, while pictures get places")

    def look(self) -> None:
        title("What any reader sees now")
        seen = sorted(self.thumbs.rglob("*.png"))
        whole = [path for path in seen if is_whole(path)]
        promise(len(whole) == len(seen), f"{len(seen)} pictures, each of them whole")
        title("What happened? Is it safe to run again?")
        self.batten("diagnose", "thumbs", expected=10)

    def resume(self) -> None:
        title("The same command again")
        report = self.run()
        promise(report["items"]["committed"] == self.clips, f"pictures of all {self.clips} clips")
        again = report["executed_items"]
        promise(again < self.clips, f"{again} clips were worked on now, the others were kept")
        self.batten("verify", "thumbs")

    def compare(self) -> None:
        title("And had it never been killed?")
        command = [BATTEN, *RUN, "--quiet"]
        subprocess.run(command, cwd=self.undisturbed, check=True, stderr=subprocess.DEVNULL)
        names = [str(path.relative_to(self.thumbs)) for path in self.thumbs.rglob("*.png")]
        same, different, lacking = filecmp.cmpfiles(
            self.thumbs, self.undisturbed / "thumbs", names, shallow=False
        )
        promise(
            len(same) == 2 * self.clips and not different and not lacking,
            f"{len(same)} pictures are the same, byte for byte",
        )

    def lose_and_mend(self) -> None:
        title("A picture is lost, another one is changed")
        pictures = sorted(self.thumbs.rglob("thumbnail.png"))
        pictures[0].unlink()
        pictures[1].write_bytes(pictures[1].read_bytes()[:-1] + b"?")
        self.batten("diagnose", "thumbs", expected=4)
        self.batten("recover", "--recompute-missing", "thumbs")
        report = self.run()
        promise(report["executed_items"] == 2, "only their two clips were worked on again")
        self.batten("verify", "thumbs")

    def change(self) -> None:
        title("A clip is another now, and one is gone")
        clips = sorted((self.folder / "clips").rglob("*.mp4"))
        shutil.copy(clips[-1], clips[0])
        clips[1].unlink()
        report = self.run()
        counts = (report["changed_items"], report["removed_items"], report["executed_items"])
        promise(counts == (1, 1, 1), "one clip was worked on")
        pictures = list(self.thumbs.rglob("*.png"))
        promise(len(pictures) == 2 * (self.clips - 1), "the pictures of the other one went with it")
        self.batten("verify", "thumbs")

    def run(self) -> dict[str, Any]:
        done = self.batten(*RUN, "--quiet", "--json", is_shown=False)
        report: dict[str, Any] = json.loads(done)
        return report

    def batten(self, *words: str, expected: int = 0, is_shown: bool = True) -> str:
        """Run a command as one would, and hold its exit code against what it should be."""
        print(f"\n$ batten {' '.join(words)}", flush=True)
        done = subprocess.run(
            [BATTEN, *words], cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout if is_shown else "", end="", flush=True)
        promise(done.returncode == expected, f"exit code {done.returncode}")
        return done.stdout


def is_whole(path: Path) -> bool:
    """Whether the file is a PNG from its signature to its end, with each checksum right."""
    data = path.read_bytes()
    place, kind = len(SIGNATURE), b""
    while data.startswith(SIGNATURE) and place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        chunk = data[place + 4 : place + 8 + size]
        if struct.unpack_from(">I", data, place + 8 + size) != (zlib.crc32(chunk),):
            return False
        place, kind = place + 12 + size, chunk[:4]
    return kind == b"IEND"


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * (74 - len(text))}\n", flush=True)


def promise(is_kept: bool, text: str) -> None:
    """Say that it is as promised, or end the demo where it is not."""
    if not is_kept:
        sys.exit(f"[NOT AS PROMISED] {text}")
    print(textwrap.fill(f"[ok] {text}", 78), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, help="how many; by default all 113")
    arguments = parser.parse_args()
    obstacle = find_tracing_obstacle()
    if obstacle is not None:
        sys.exit(f"The demo kills at an exact place, for which it traces the command: {obstacle}")
    folder = arguments.folder or EXAMPLE.parents[1] / "demo-output" / "thumbnails"
    started = time.monotonic()
    title("Real clips")
    Tour(folder, arguments.clips).walk()
    seconds = time.monotonic() - started
    print(f"\nAll as promised, in {seconds:.0f} seconds. It is all in {folder}.")


if __name__ == "__main__":
    main()
