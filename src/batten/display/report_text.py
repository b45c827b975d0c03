"""The end of a run, for people."""

from __future__ import annotations

from collections.abc import Iterator

from batten.model.disk.destinations.delivery import CAN_NOT_BE_ASKED, ONCE
from batten.model.rules.usage import tell_usage
from batten.model.telling.commands import command
from batten.model.telling.counts import count_of
from batten.model.words import RunStatus
from batten.run.report import Delivered, Finalized, Report


def list_lines(report: Report, *, retrying: str = "--retry-quarantined") -> list[str]:
    """The end of a run, for people; `retrying` is how they ask for quarantined items again."""
    accounts = report.accounts
    if accounts is None:
        return [f"{report.path}: {report.status}."]
    pending = accounts.pending + accounts.staged
    adopted = f", {accounts.adopted:,} adopted" if accounts.adopted else ""
    counts = f"{accounts.committed:,} committed ({count_of(report.rows, 'row')}{adopted})"
    for count, word in (
        (accounts.filtered, "filtered"),
        (accounts.quarantined, "quarantined"),
        (accounts.duplicate, "duplicate"),
        (pending, "pending"),
    ):
        if count:
            counts += f", {count:,} {word}"
    lines = [
        f"{report.path}: {_tell_beside(report) or _TITLES[report.status]}",
        f"  {count_of(accounts.source, 'item')}: {counts}",
    ]
    if report.status in (RunStatus.COMPLETE, RunStatus.LIMITED):
        seconds = sum(report.seconds.get(stage, 0.0) for stage in ("plan", "prepare", "account"))
        lines.append(
            f"  this run: {report.executed_items:,} executed, {report.adopted_items:,} adopted "
            f"from before, {seconds:.1f} s"
        )
    if report.usage is not None:
        lines.extend(f"  {name}: {told}" for name, told in tell_usage(report.usage))
    lines.extend(_list_differences(report))
    lines.extend(list_checks(report))
    lines.extend(_describe_delivered(each) for each in report.destinations)
    lines.extend(_describe_finalized(each) for each in report.finalized)
    if accounts.source == 0 and report.status != RunStatus.LIMITED:
        lines.append("  the source has no items: is it the right one?")
    if accounts.quarantined and report.status == RunStatus.NOTHING_TO_DO:
        lines.append(
            f"  to try {count_of(accounts.quarantined, 'quarantined item')} again, by a mended "
            f"function or the same: {retrying}"
        )
    if accounts.quarantined:
        lines.append(f"  see why: {command('show', report.path)}")
    return lines


def _list_differences(report: Report) -> Iterator[str]:
    """What the source has other than it was planned."""
    will_be = report.status == RunStatus.PLANNED
    if report.changed_items:
        done = "to be computed again" if will_be else "computed again"
        yield f"  {count_of(report.changed_items, 'item')} changed in the source: {done}"
    if report.vanished_items:
        yield f"  {report.vanished_items:,} planned items are gone from the source; kept"
    if removed := report.removed_items - report.vanished_items:
        done = "will go" if will_be else "went"
        yield f"  {count_of(removed, 'item')} gone from the source: the rows {done} too"


def _tell_beside(report: Report) -> str:
    """For a limited run that began a new dataset: the numbers are of that dataset."""
    if not report.beside:
        return ""
    return (
        f"limited: a new dataset was begun in {report.beside}; until it is complete, readers keep "
        "the old one. Of the new one:"
    )


def _describe_delivered(delivered: Delivered) -> str:
    batches = count_of(delivered.batches, "batch", "batches")
    held = f"{count_of(delivered.rows, 'row')} of {batches} ({delivered.kind})"
    weaker = f"; {CAN_NOT_BE_ASKED}" if delivered.promise != ONCE else ""
    return f"  {delivered.target}: {held}{weaker}"


def list_checks(report: Report) -> list[str]:
    """What was looked at before the run."""
    return [f"  {each.name}: {each.verdict}; {each.told}" for each in report.checks]


def _describe_finalized(finalized: Finalized) -> str:
    told = {
        RunStatus.COMPLETE: f"finalized, {count_of(finalized.rows, 'row')}",
        RunStatus.NOTHING_TO_DO: f"up to date, {count_of(finalized.rows, 'row')}",
        RunStatus.LIMITED: "not finalized: the run was limited",
        RunStatus.PLANNED: "would be finalized",
    }
    return f"  {finalized.path}: {told[finalized.status]}"


_TITLES = {
    RunStatus.COMPLETE: "complete; the accounts are closed.",
    RunStatus.NOTHING_TO_DO: "complete already; nothing to do.",
    RunStatus.LIMITED: "limited: not the whole source was asked for, so it is not marked complete.",
    RunStatus.ADOPTED: "adopted what was finished; the next run computes the rest.",
    RunStatus.PLANNED: "dry run; nothing was written.",
}
