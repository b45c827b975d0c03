"""An overview for people: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batten.cli.text.diagnosis_text import (
    labelled,
    list_at_work,
    list_contents,
    list_findings,
    list_retry,
    list_weaker,
)
from batten.inspect.items.used import ItemUsage
from batten.inspect.show import Overview
from batten.ledger.history.runs import RunLog
from batten.model.rules.usage import show_usage, tell_usage
from batten.model.telling.counts import count_of
from batten.model.words import State

QUARANTINED_SHOWN = 10
_RUNS_SHOWN = 5
_USED_SHOWN = 50


def list_lines(overview: Overview) -> Iterator[str]:
    """The lines for people."""
    diagnosis = overview.diagnosis
    yield f"{diagnosis.state.value}  {diagnosis.path}"
    if diagnosis.state is State.STALE:
        yield labelled("why", diagnosis.reason)
    for hint in overview.hints:
        yield labelled("hint", hint)
    yield from list_contents(diagnosis)
    if overview.parts_at:
        yield labelled("lies at", overview.parts_at)
    if (usage := diagnosis.contents.usage) is not None:
        yield from (labelled(name, told) for name, told in tell_usage(usage))
    yield from list_at_work(diagnosis)
    yield from list_weaker(diagnosis)
    yield from _list_used(overview.used or ())
    yield from list_findings(diagnosis.findings)
    for item in overview.quarantined[:QUARANTINED_SHOWN]:
        error = item.error.splitlines()[0] if item.error else "unknown error"
        attempts = count_of(item.attempts, "attempt")
        yield labelled("failed", f"{item.key}: {error} ({attempts}, {item.time})")
    known = max(diagnosis.items.quarantined, len(overview.quarantined))
    if (more := known - QUARANTINED_SHOWN) > 0:
        yield labelled("", f"and {more:,} more; --json lists them all, with tracebacks")
    yield from list_retry(diagnosis)
    for name in overview.unreadable:
        yield labelled("damaged", f"{name} can't be read")
    if overview.in_hand:
        shown = ", ".join(overview.in_hand[:QUARANTINED_SHOWN])
        more = len(overview.in_hand) - QUARANTINED_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        count = count_of(len(overview.in_hand), "item")
        yield labelled("in hand", f"{count} when the last run was killed: {shown}{rest}")
    for run in overview.runs[-_RUNS_SHOWN:]:
        may_live = diagnosis.state is State.RUNNING and run is overview.runs[-1]
        yield labelled("run", _show_run(run, "at work" if may_live else "no end was logged"))
        if run.stop is not None and not run.was_refused and (reason := run.stop.get("error")):
            yield labelled("", f"it stopped: {reason}")


def _list_used(used: Sequence[ItemUsage]) -> Iterator[str]:
    for each in used[:_USED_SHOWN]:
        name = each.key if each.key is not None else f"item {each.item} of the plan"
        yield labelled("used", f"{name}: {show_usage(each.used)}")
    if len(used) > _USED_SHOWN:
        yield labelled("", f"and {len(used) - _USED_SHOWN} more; --json lists them all")


def _show_run(run: RunLog, without_end: str) -> str:
    if run.stop is None:
        return f"{run.run}  {without_end}"
    text = f"{run.run}  {run.stop.get('status')}"
    if run.was_refused:
        return f"{text}: {run.stop.get('error')}"
    if "executed_items" in run.stop:
        executed, adopted = run.stop["executed_items"], run.stop.get("adopted_items")
        text += f": {count_of(executed, 'item')} executed, {adopted} adopted"
    seconds = run.stop.get("seconds")
    if isinstance(seconds, dict) and seconds:
        text += "; seconds: " + ", ".join(f"{stage} {spent}" for stage, spent in seconds.items())
    return text
