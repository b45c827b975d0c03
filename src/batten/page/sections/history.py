"""How an output came about: its pace, its runs and what ended them, what it was made of."""

from __future__ import annotations

from collections.abc import Iterator

from batten.inspect.action_words import name_action
from batten.inspect.diagnosis import Diagnosis
from batten.ledger.history.runs import RunLog
from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join
from batten.model.words import Action, State
from batten.page.drawing.blocks import Column, Outline, code, key, line, listing, more, note, table
from batten.page.drawing.pictures import draw_pace, show_recorded
from batten.page.looking import OutputSeen
from batten.page.pace import Throughput
from batten.page.sections.state import list_destinations, show_command, show_state

PARAMETERS_MAX = 20
AS_BATCHES = "Bars are as fine as batches: an item counts when its batch is published."
NO_TIMES = (
    "No item is known to have taken a millisecond. Items that a function gets together have no "
    "times of their own, and an earlier batten wrote down none."
)


def show_pace(seen: OutputSeen, outline: Outline) -> Markup:
    """Throughput and failures over time."""
    pace = seen.pace
    if pace is None:
        return NOTHING
    picture = draw_pace(pace, outline.prefix) if pace.runs else NOTHING
    told = list(_tell_pace(pace))
    return outline.section(
        "Throughput and failures over time", "time", picture, *(note(each) for each in told)
    )


def _tell_pace(pace: Throughput) -> Iterator[str]:
    if not pace.runs:
        yield "No commit record tells when its batch was published."
        return
    if pace.read < pace.batches:
        yield f"Drawn from {pace.read:,} of {pace.batches:,} batches, each for its neighbours too."
    if pace.odd:
        yield f"{count_of(pace.odd, 'batch', 'batches')} without a readable time left out."
    if pace.runs_left_out:
        yield f"{count_of(pace.runs_left_out, 'earlier run')} left out."
    if len(pace.runs) > 1:
        yield "Each grey field is a run that published something; the time between is left out."
    yield AS_BATCHES


def show_slowest(seen: OutputSeen, outline: Outline) -> Markup:
    """The items that took longest."""
    if seen.pace is None:
        return NOTHING
    rows = [(key(each.name()), f"{each.seconds:,.3f}") for each in seen.slowest.items]
    columns = (Column("item"), Column("seconds in hand", True))
    told = table("With all tries and waits", columns, rows, layout="narrow wide")
    read, batches = seen.slowest.read, seen.slowest.batches
    left = f"Of {read:,} of {batches:,} batches; a slower one may be missing."
    return outline.section(
        "Slowest items",
        "slowest",
        told or note(NO_TIMES),
        note(left) if read < batches else NOTHING,
    )


def show_runs(seen: OutputSeen, outline: Outline) -> Markup:
    """Runs, the last first, and what ended each."""
    last = seen.runs[-1] if seen.runs else None
    is_live = seen.state is State.RUNNING
    rows = [_show_run(run, is_live=is_live and run is last) for run in reversed(seen.runs)]
    columns = (
        Column("began", is_short=True),
        Column("ended", is_short=True),
        Column("how it ended"),
        Column("executed", True),
        Column("adopted", True),
        Column("seconds"),
        Column("command"),
    )
    return outline.section(
        "Runs",
        "runs",
        table(f"{count_of(seen.runs_all, 'run')}, the last first", columns, rows),
        more(seen.runs_all - len(rows), "earlier run"),
    )


def _show_run(run: RunLog, *, is_live: bool) -> tuple[str | Markup, ...]:
    told = run.summarize()
    seconds = told.seconds if isinstance(told.seconds, dict) else {}
    return (
        element("span", show_recorded(told.started or run.run), title=line(run.run)),
        show_recorded(told.stopped or ""),
        join(_tell_end(run, is_live)),
        "" if told.executed_items is None else f"{told.executed_items:,}",
        "" if told.adopted_items is None else f"{told.adopted_items:,}",
        ", ".join(f"{stage} {spent:,.1f}" for stage, spent in list(seconds.items())[:12]),
        code(told.command) if told.command else "",
    )


def _tell_end(run: RunLog, is_live: bool) -> Iterator[str | Markup]:
    """What the log says, and no more than that."""
    told = run.summarize()
    if run.stop is None:
        yield (
            "at work" if is_live else "no end was logged: it was killed, or could not write its log"
        )
    else:
        yield line(str(told.status or "it ended; its log does not say how"))
    for signal in run.signals[-1:]:
        name = signal.get("signal") or signal.get("name") or "a signal"
        yield line(f"; it was sent {name} at {signal.get('time') or 'an unknown time'}")
    if told.error:
        yield line(f": {told.error}")
    if run.damaged_lines:
        yield f"; {count_of(run.damaged_lines, 'line')} of its log can't be read"


def show_lineage(seen: OutputSeen, outline: Outline) -> Markup:
    """What it was made of, by what, and where its rows went."""
    found, config = seen.diagnosis, seen.config
    if found is None or config is None:
        return NOTHING
    call = config.call
    parameters = [("parameter", f"{name}={value}") for name, value in config.parameters.items()]
    told = listing(
        [
            ("source", key(config.source) if config.source else ""),
            ("made by", key(call.file or call.module) if call.file or call.module else ""),
            *parameters[:PARAMETERS_MAX],
            ("first run", show_recorded(config.created)),
            ("code", code(config.fingerprint.digest[:16]) if config.fingerprint.digest else ""),
            (
                "accepted",
                f"{count_of(len(config.earlier_fingerprints), 'change')} of the job since"
                if config.earlier_fingerprints
                else "",
            ),
        ]
    )
    return outline.section(
        "Destinations and lineage",
        "lineage",
        told,
        list_destinations(found),
        _show_chain(seen, found),
    )


def _show_chain(seen: OutputSeen, found: Diagnosis) -> Markup:
    if not seen.upstream:
        return NOTHING
    last = seen.stale or found
    chain = (*seen.upstream, last)
    rows = [_show_dataset(each, is_own=each is last) for each in chain]
    columns = [Column(head) for head in ("dataset", "state", "why", "what to do")]
    caption = "The chain of datasets: each is made of the one above it"
    told = ""
    if seen.stale is not None:
        told = f"Together with what it was made of, this output is {seen.stale.state.value}."
    return join((table(caption, columns, rows), note(told) if told else NOTHING))


def _show_dataset(found: Diagnosis, *, is_own: bool) -> tuple[str | Markup, ...]:
    name = key(found.path)
    needs = found.action not in (Action.NOTHING, Action.LEAVE_ALONE)
    return (
        join((name, " (this one)")) if is_own else name,
        show_state(found.state),
        found.reason,
        show_command(found.next) if needs else name_action(found),
    )
