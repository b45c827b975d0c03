"""Several diagnoses for people: how many are in which state, and what each needs."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cli.text.diagnosis_text import labelled
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.survey import Survey
from batten.model.telling.counts import count_of
from batten.model.words import Action, State
from batten.printable import escape

_ROWS_SHOWN = 40


def list_lines(survey: Survey) -> Iterator[str]:
    """The counts, then a table: what needs something comes first."""
    total = len(survey.diagnoses)
    counts = ", ".join(f"{count} {state.value}" for state, count in survey.counts.items())
    yield f"{count_of(total, 'output')}: {counts}"
    rows = survey.urgent_first()
    shown = rows[:_ROWS_SHOWN]
    width = max((len(each.state.value) for each in shown), default=0)
    path_width = max((len(escape(each.path)) for each in shown), default=0)
    for each in shown:
        line = f"  {each.state.value:<{width}}  {escape(each.path):<{path_width}}  {_tell(each)}"
        yield line.rstrip()
    if len(rows) > len(shown):
        states = list(dict.fromkeys(each.state.value for each in rows[len(shown) :]))
        left = f"and {len(rows) - len(shown)} more ({', '.join(states)}); --json lists them all"
        yield labelled("", left)


def _tell(diagnosis: Diagnosis) -> str:
    items = diagnosis.items
    is_counted = items.source and not diagnosis.contents.tables
    done = f"{items.source - items.pending - items.staged} of {count_of(items.source, 'item')}; "
    progress = done if is_counted else ""
    if diagnosis.state is State.NEW:
        return "missing: nothing is there"
    if diagnosis.action is Action.NOTHING:
        rows = next((each.rows for each in diagnosis.destinations), diagnosis.rows)
        told = count_of(rows, "row") if items.source else diagnosis.readers
        return escape("; ".join([told, *diagnosis.hints[:1]]))
    if diagnosis.state is State.RUNNING and diagnosis.holder:
        return f"{progress}process {diagnosis.holder.pid or 'unknown'}: leave it alone"
    if diagnosis.state is State.INTERRUPTED:
        return f"{progress}next: {escape(diagnosis.next)}"
    return f"next: {escape(diagnosis.next)}"
