"""Names of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batten.run.clock import name_run


def test_names_of_runs_sort_by_time_also_within_a_second() -> None:
    began = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
    names = [name_run(began + timedelta(milliseconds=each)) for each in range(1001)]
    assert names == sorted(set(names))
    assert names[0] == "20261121T080000Z-0000"
    assert names[-2:] == ["20261121T080000Z-ffbe", "20261121T080001Z-0000"]
