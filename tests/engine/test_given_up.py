"""A part that was lost and given up is computed again, and what said so is kept as evidence."""

from __future__ import annotations

from pathlib import Path

import batten
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import recover_output


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def test_the_marker_goes_to_set_aside_with_the_run_that_makes_the_part_again(
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    control = tmp_path / "out.batten"
    job = batten.from_range(10).map(square).options(batch_size=4).write_parquet(output)
    job.run(executor="serial")
    record = (control / "commits" / "000001.json").read_bytes()
    part = (output / "part-000001.parquet").read_bytes()
    (output / "part-000001.parquet").unlink()
    recover_output(locate_output(output), should_recompute=True, is_dry_run=False)

    report = job.run(executor="serial")

    assert (report.status, report.executed_items) == ("complete", 4)
    assert (output / "part-000001.parquet").read_bytes() == part
    assert list((control / "recompute").iterdir()) == []
    (kept,) = (control / "set-aside").glob("*-recompute-000001.json")
    assert kept.read_bytes() == record
