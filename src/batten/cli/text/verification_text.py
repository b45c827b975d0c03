"""A verification for people: lines that name all that is damaged."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cli.text.diagnosis_text import (
    labelled,
    list_contents,
    list_destinations,
    list_findings,
)
from batten.inspect.verifying.verify import Verification
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.model.words import FILES, State

_FINDINGS_SHOWN = 20


def list_lines(verification: Verification) -> Iterator[str]:
    """The lines for people."""
    diagnosis = verification.diagnosis
    yield f"{'SOUND' if verification.is_sound else 'DAMAGED'}  {diagnosis.path}"
    how = "sizes and counts" if verification.is_quick else f"{show_bytes(verification.bytes)}"
    of = count_of(verification.parts, "part")
    if verification.files and not verification.parts:
        of = count_of(verification.files, "file")
    elif verification.files:
        are_of_items = any(each.kind == FILES for each in verification.diagnosis.destinations)
        of_what = "" if are_of_items else " of all rows"
        of += f" and {count_of(verification.files, 'file')}{of_what}"
    if diagnosis.state is State.RUNNING:
        yield labelled("so far", "a run is at work; this is of what it has published until now")
    yield labelled("read", f"{how} of {of}")
    yield labelled("state", f"{diagnosis.state.value}: {diagnosis.reason}")
    if diagnosis.contents.tables:
        yield from list_contents(diagnosis)
    elif diagnosis.items.source:
        yield labelled("items", diagnosis.items.show())
    yield from list_destinations(diagnosis)
    yield from list_findings(verification.findings, most=_FINDINGS_SHOWN)
    yield labelled("next", verification.next)
