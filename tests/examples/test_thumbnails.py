"""The tour through thumbnails of real clips goes as its promises say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tracing import needs_tracing

EXAMPLE = Path(__file__).parents[2] / "examples" / "thumbnails"

pytestmark = needs_tracing


def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py", tmp_path / "demo", "--clips", "24"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as promised" in done.stdout
