"""What was mended, for people: a recovery, a cleaning."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cli.text import diagnosis_text
from batten.inspect.clean import Cleaning
from batten.inspect.recover import Recovery
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.model.words import State


def list_recovery_lines(recovery: Recovery) -> Iterator[str]:
    """Each step, then what is there."""
    verb = "would " if recovery.is_dry_run else ""
    steps = recovery.list_steps()
    for step in steps:
        yield f"{verb}{step['do']} {step['path']}: {step['why']}"
    if not steps:
        yield "There is nothing to recover."
    yield from diagnosis_text.list_lines(recovery.diagnosis)


def list_cleaning_lines(cleaning: Cleaning) -> Iterator[str]:
    """What was removed, and what was kept."""
    if cleaning.diagnosis.state is State.NEW:
        yield f"There is nothing to clean: no output {cleaning.diagnosis.path}."
        return
    verb = "would remove" if cleaning.is_dry_run else "removed"
    for orphan in cleaning.removed:
        yield f"{verb} {orphan.path}"
    count = count_of(len(cleaning.removed), "file")
    if cleaning.of_landed:
        yield f"{verb} {count} of landed items, {show_bytes(cleaning.bytes)}"
        yield f"kept {cleaning.kept}: the newest of each folder, and what is still needed"
        yield from (f"needed: {why}" for why in cleaning.why_kept)
        return
    yield f"{verb} {count} of dead runs, {show_bytes(cleaning.bytes)}"
    for journal in cleaning.needless:
        yield f"{verb} {journal.path}"
    if cleaning.needless:
        count = count_of(len(cleaning.needless), "journal")
        yield f"{verb} {count} of changes that later ones have covered"
    if cleaning.kept:
        yield f"kept {cleaning.kept} that are younger, or may be the only copy"
