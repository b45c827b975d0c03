"""A job that notes its calls, and goes on from what a hand-made one had finished."""

from __future__ import annotations

from typing import Any

import pytest

JOB = """
    from pathlib import Path

    def measure(clip: Path) -> dict:
        with open("calls", "a") as calls:
            calls.write(clip.name + "\\n")
        return {"frames": len(clip.read_bytes()), "name": clip.stem}

    pipeline = (
        batten.from_files("clips/*.mp4").map(measure).write_parquet("out/").options(batch_size=4)
    )
"""

CLIPS = 10


@pytest.fixture
def clips(job: Any) -> Any:
    """The folder of the job, with ten clips."""
    (job.path / "clips").mkdir()
    for number in range(CLIPS):
        (job.path / "clips" / f"c{number}.mp4").write_bytes(bytes(number))
    return job.write(JOB)
