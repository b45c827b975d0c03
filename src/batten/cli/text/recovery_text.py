"""A recovery for people: each step, then what is there."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cli.text import diagnosis_text
from batten.inspect.recover import Recovery


def list_lines(recovery: Recovery) -> Iterator[str]:
    """The lines for people."""
    verb = "would " if recovery.is_dry_run else ""
    steps = recovery.list_steps()
    for step in steps:
        yield f"{verb}{step['do']} {step['path']}: {step['why']}"
    if not steps:
        yield "There is nothing to recover."
    yield from diagnosis_text.list_lines(recovery.diagnosis)
