"""The bar says that items wait because memory was short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batten
from batten.drive.showing import Apart
from batten.executors.base import Died
from batten.model.telling.sizes import show_bytes
from batten.storage.machine import Machine

MEBIBYTE = 1 << 20


def grow(name: str) -> dict[str, str]:
    if name == "greedy":
        kept = b"x" * (600 * MEBIBYTE)
        Path("never").read_bytes()
        return {"name": name[: len(kept)]}
    # Ends when whoever watches has seen that the other one waits.
    Path("seen").read_bytes()
    return {"name": name}


def test_the_reason_is_shown_while_items_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("never")
    os.mkfifo("seen")
    seen: list[str] = []

    def watch(status: batten.Status) -> None:
        if status.waits and not seen:
            seen.extend(status.waits)
            Path("seen").write_bytes(b"")

    pipeline = batten.from_items(["patient", "greedy"], key=str).map(grow, timeout_seconds=300)
    pipeline = pipeline.options(batch_size=1, stop_when=None).write_parquet("out")
    # Forked workers begin with what this process has, without what it started.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    most = pages * os.sysconf("SC_PAGE_SIZE") + 300 * MEBIBYTE
    with pytest.warns(batten.QuarantinedWarning):
        report = pipeline.run(jobs=2, memory_max=most, progress=watch)
    assert report.quarantined == 1
    (told,) = seen
    assert told.startswith("1 item to be tried apart: a worker was killed at ")
    assert f"of memory (memory_max is {show_bytes(most)})" in told


@pytest.mark.parametrize(
    ("cause", "kills", "told"),
    [
        ("was killed by signal SIGKILL", 1, "was killed by signal SIGKILL, for want of memory"),
        ("was killed by signal SIGKILL", 0, "was killed by signal SIGKILL"),
        ("was killed by signal SIGSEGV", 1, "was killed by signal SIGSEGV"),
    ],
)
def test_the_kernel_is_asked(tmp_path: Path, cause: str, kills: int, told: str) -> None:
    """By files as the kernel has them."""
    counted = tmp_path / "vmstat"
    counted.write_text("pgpgin 7\noom_kill 3\n")
    apart = Apart(Machine(proc=str(tmp_path), groups=str(tmp_path / "groups")))
    assert apart.tell(2) == ("2 items to be tried apart",)
    counted.write_text(f"pgpgin 8\noom_kill {3 + kills}\n")
    apart.take(Died(task_id=0, item=4, cause=cause))
    assert apart.tell(2) == (f"2 items to be tried apart: a worker {told}",)
    assert apart.tell(0) == ()
