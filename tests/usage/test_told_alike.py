"""What calls cost is told alike by all that tells it, over a run that was killed and went on."""

from __future__ import annotations

import html
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

import batten
from batten.model.rules.usage import tell_usage

if TYPE_CHECKING:
    from conftest import JobFolder

KINDS = ("kept", "failed_tries", "quarantined", "repeated")

PROGRAM = """
    import os
    import signal
    from decimal import Decimal
    from pathlib import Path

    def ask(number):
        batten.usage(cost=Decimal("0.1"), tokens=number)
        tried = Path(f"tried-{number}")
        is_first = not tried.exists()
        tried.touch()
        if number == 5 and is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 8 or (number == 2 and is_first):
            raise ValueError("nonsense")
        return {"number": number}

    pipeline = batten.from_range(10).map(ask, retries=1).options(batch_size=3).write_parquet("out")

    if __name__ == "__main__":
        pipeline.run(executor="serial", jobs=1, progress=False)
"""


def test_by_every_way_that_tells_it(job: JobFolder) -> None:
    killed = subprocess.run([sys.executable, "job.py"], cwd=job.write(PROGRAM).path, check=False)
    assert killed.returncode == -signal.SIGKILL
    told = batten.diagnose(job.path / "out").contents.usage
    assert told is not None
    assert (told.total["cost"], told.calls_lost) == (Decimal("0.7"), 1)
    ended = job.run("--jobs", "1", "--json", "--metrics", "job.prom")
    assert ended.code == 3, ended.err
    usage = batten.diagnose(job.path / "out").contents.usage
    assert usage is not None
    # The first time 0 to 5 and 2 once more, then 5 to 9 and 8 once more.
    assert usage.total["cost"] == Decimal("1.3")
    assert usage.kept["tokens"] == sum(range(10)) - 8
    assert usage.quarantined == {"cost": Decimal("0.2"), "tokens": 16}

    expected = usage.to_json()
    assert ended.json["usage"] == expected
    assert job.batten("show", "out", "--json").json["usage"] == expected
    assert job.batten("diagnose", "out", "--json").json["usage"] == expected
    assert read_metrics(job.path / "job.prom") == (
        {kind: expected[kind] for kind in KINDS},
        expected["lost"]["at_most"],
        expected["lost"]["calls"],
    )
    by_key = job.batten("show", "out", "--usage", "--json").json["usage_by_key"]
    assert add_up(by_key) == expected["total"]

    shown = " ".join(job.batten("show", "out").out.split())
    assert job.batten("report", "out", "-o", "page.html").code == 0
    page = (job.path / "page.html").read_text()
    lines = [text for _, text in tell_usage(usage)]
    assert len(lines) == 5
    for text in lines:
        assert text in shown
        assert html.escape(text) in page


def read_metrics(path: Path) -> tuple[dict[str, Any], dict[str, float], float]:
    """By kind and unit; the bound of what was lost; how many calls that were."""
    used: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    bound, calls = {}, 0.0
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            if sample.name == "batten_usage_total":
                used[sample.labels["state"]][sample.labels["unit"]] = sample.value
            elif sample.name == "batten_lost_usage_max":
                bound[sample.labels["unit"]] = sample.value
            elif sample.name == "batten_lost_calls_total":
                calls = sample.value
    return used, bound, calls


def add_up(by_key: list[dict[str, Any]]) -> dict[str, float]:
    sums: dict[str, Decimal] = {}
    for each in by_key:
        for unit, amount in each["used"].items():
            sums[unit] = sums.get(unit, Decimal(0)) + Decimal(str(amount))
    return {unit: float(amount) for unit, amount in sums.items()}
