"""A diagnosis for people: one screen, what to do first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from batten.inspect.action_words import (
    is_run,
    name_action,
    name_destination,
    show_held,
    show_output,
    tell_again,
    tell_uncounted,
)
from batten.inspect.advising.refused import Refused
from batten.inspect.diagnosis import Diagnosis, Orphan
from batten.ledger.history.submissions import tell_pending
from batten.model.disk.destinations.delivery import CAN_NOT_BE_ASKED, ONCE
from batten.model.rules.findings import Finding, Severity
from batten.model.telling.commands import as_path, command
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_age, show_bytes
from batten.model.words import State
from batten.sources.inputs import Input

_FINDINGS_SHOWN = 5
_ORPHANS_SHOWN = 2
_INPUTS_SHOWN = 4
_WORKERS_SHOWN = 8


def list_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """The lines of the screen."""
    yield f"{diagnosis.state.value}  {diagnosis.path}"
    yield labelled("why", diagnosis.reason)
    yield labelled("do", name_action(diagnosis))
    yield labelled("next", diagnosis.next)
    yield from _list_choices(diagnosis.next_run.refused)
    if not is_run(diagnosis):
        yield from list_retry(diagnosis)
    yield labelled("risky", diagnosis.risky)
    if diagnosis.parameters:
        key = " ".join(f"{name}={value}" for name, value in diagnosis.parameters.items())
        yield labelled("key", key)
    if holder := diagnosis.holder:
        where = f" on {holder.host}" if holder.host else ""
        since = f" since {holder.since}" if holder.since else ""
        yield labelled("holder", f"process {holder.pid or 'unknown'}{where}{since}")
    yield from list_at_work(diagnosis)
    if diagnosis.items.source:
        yield from list_contents(diagnosis)
    is_told = diagnosis.state is State.COMPLETE and diagnosis.items.source
    if diagnosis.state is not State.NEW and not is_told:
        yield labelled("readers", f"see {diagnosis.readers}")
    if diagnosis.state in _MADE and diagnosis.parts:
        verify = command("verify", as_path(diagnosis.path))
        yield labelled("read", f"no byte of the parts, only sizes; {verify} reads them all")
    yield from _list_inputs(diagnosis.inputs)
    yield from list_destinations(diagnosis)
    yield from _list_orphans(diagnosis.orphans)
    if is_run(diagnosis) and diagnosis.state is not State.NEW:
        yield labelled("again", tell_again(diagnosis))
    for hint in diagnosis.hints:
        yield labelled("hint", hint)
    yield from list_findings(diagnosis.findings)


def list_at_work(diagnosis: Diagnosis) -> Iterator[str]:
    """Workers of other machines."""
    at_work = diagnosis.contents.at_work
    for worker in at_work[:_WORKERS_SHOWN]:
        yield labelled("worker", worker.tell())
    if len(at_work) > _WORKERS_SHOWN:
        more = count_of(len(at_work) - _WORKERS_SHOWN, "worker")
        yield labelled("", f"and {more} more; --json lists them all")


def list_retry(diagnosis: Diagnosis) -> Iterator[str]:
    """How quarantined items are tried again."""
    if diagnosis.next_run.retry:
        yield labelled("retry", diagnosis.next_run.retry)


_MADE = (State.COMPLETE, State.COMPLETE_WITH_ORPHANS)


def _list_choices(refused: Refused | None) -> Iterator[str]:
    """What `next` does, if there are other ways; and these ways."""
    for number, choice in enumerate(refused.choices if refused else ()):
        if number:
            yield labelled("or", choice.next)
        yield labelled("", choice.does)


def list_contents(diagnosis: Diagnosis) -> Iterator[str]:
    """What the output holds, and of what."""
    if diagnosis.contents.tables:
        yield labelled("tables", ", ".join(diagnosis.contents.tables))
        return
    yield labelled("items", diagnosis.items.show())
    yield labelled("output", show_output(diagnosis))
    for each in diagnosis.contents.submitted:
        yield labelled("waits", tell_pending(each))


def list_destinations(diagnosis: Diagnosis) -> Iterator[str]:
    """What each destination has. If it was not looked at: what it was given, and why it was not."""
    for given in diagnosis.destinations:
        held, why = show_held(diagnosis, given), diagnosis.unseen.get(given.target)
        named = name_destination(diagnosis, given)
        if why is None:
            yield labelled("has", f"{named}: {held}{tell_uncounted(given)}")
        else:
            yield labelled("given", f"{named}: was given {held}; {why}")


def list_weaker(diagnosis: Diagnosis) -> Iterator[str]:
    """The destinations whose promise is weaker."""
    for given in diagnosis.destinations:
        if given.promise != ONCE:
            held = show_held(diagnosis, given)
            yield labelled("given", f"{given.target}: was given {held}; {CAN_NOT_BE_ASKED}")


def _list_inputs(inputs: Sequence[Input]) -> Iterator[str]:
    """Those that can't be read first."""
    for each in sorted(inputs, key=lambda each: each.is_readable)[:_INPUTS_SHOWN]:
        size = f", {show_bytes(each.bytes)}" if each.bytes is not None else ""
        told = "readable" if each.is_readable else each.problem
        yield labelled("input", f"{each.path}: {told}{size}")
    if len(inputs) > _INPUTS_SHOWN:
        left = len(inputs) - _INPUTS_SHOWN
        unreadable = sum(not each.is_readable for each in inputs)
        told = "some can't be read" if unreadable > _INPUTS_SHOWN else "readable"
        yield labelled("", f"and {left} more: {told}; --json lists them all")


def list_findings(findings: Iterable[Finding], *, most: int = _FINDINGS_SHOWN) -> Iterator[str]:
    """The worst findings, and how many more there are. Notes are for the JSON."""
    order = list(Severity)
    told = [finding for finding in findings if finding.severity is not Severity.NOTE]
    told.sort(key=lambda finding: -order.index(finding.severity))
    for finding in islice(told, most):
        yield labelled("found", f"{finding.path}: {finding.evidence} ({finding.code.value})")
    if len(told) > most:
        yield labelled("", f"and {len(told) - most} more; --json lists them all")


def _list_orphans(orphans: Sequence[Orphan]) -> Iterator[str]:
    if not orphans:
        return
    size = show_bytes(sum(orphan.bytes for orphan in orphans))
    yield labelled("orphans", f"{count_of(len(orphans), 'file')} of dead runs, {size}")
    for orphan in orphans[:_ORPHANS_SHOWN]:
        owner = f", of {orphan.owner}" if orphan.owner else ""
        size, age = show_bytes(orphan.bytes), show_age(orphan.age_seconds)
        yield labelled("", f"{orphan.path}  {size}, {age} old{owner}")
    if len(orphans) > _ORPHANS_SHOWN:
        yield labelled("", f"and {len(orphans) - _ORPHANS_SHOWN:,} more")


def labelled(word: str, text: str) -> str:
    """A line of the screen."""
    return f"  {word:<8} {text}"
