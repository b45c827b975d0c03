"""What an output's page begins with: its state and the one safe action, as `diagnose` has them."""

from __future__ import annotations

from collections.abc import Iterator

from batten.display.rate import show_clock, tell_rate
from batten.inspect.action_words import (
    is_run,
    name_action,
    name_destination,
    show_held,
    show_output,
    tell_again,
    tell_uncounted,
)
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.watching import Sight
from batten.model.rules.findings import Severity
from batten.model.rules.usage import tell_usage
from batten.model.telling.commands import is_command
from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join
from batten.model.telling.sizes import show_age, show_bytes
from batten.model.words import State
from batten.page.drawing.blocks import (
    Column,
    Outline,
    code,
    key,
    line,
    listing,
    more,
    note,
    sentences,
    table,
)
from batten.page.drawing.pictures import draw_accounts, show_recorded
from batten.page.looking import IN_HAND_MAX, OutputSeen

FINDINGS_MAX = 50
ORPHANS_MAX = 20
INPUTS_MAX = 20
_MANNERS = {
    State.NEW: "absent",
    State.RUNNING: "busy",
    State.INTERRUPTED: "doubtful",
    State.STALE: "doubtful",
    State.COMPLETE: "good",
    State.COMPLETE_WITH_ORPHANS: "good",
    State.RECOVERY_PENDING: "doubtful",
    State.INCONSISTENT: "bad",
    State.CORRUPT: "bad",
    State.UNKNOWN: "doubtful",
}


def show_state(state: State) -> Markup:
    """Its name, in its colour."""
    return element("span", state.value, class_=f"state {_MANNERS[state]}")


def show_verdict(seen: OutputSeen) -> Markup:
    """The state, why it is so, what to do, and what not to do."""
    found = seen.diagnosis
    if found is None:
        told = listing([("why", seen.problem), ("next", "mend that, and look again")])
        return _frame(State.UNKNOWN, told)
    return _frame(found.state, listing(_list_verdict(found)))


def _frame(state: State, told: Markup) -> Markup:
    word = element("p", state.value, class_="state")
    return element("div", word, told, class_=f"verdict {_MANNERS[state]}")


def _list_verdict(found: Diagnosis) -> Iterator[tuple[str, str | Markup]]:
    yield "why", found.reason
    yield "do", name_action(found)
    yield "next", show_command(found.next)
    refused = found.next_run.refused
    for number, choice in enumerate(refused.choices if refused is not None else ()):
        if number:
            yield "or", show_command(choice.next)
        yield ("or" if number else "next"), choice.does
    if found.next_run.retry and not is_run(found):
        yield "retry", show_command(found.next_run.retry)
    yield "risky", found.risky
    if is_run(found) and found.state is not State.NEW:
        yield "again", tell_again(found)


def show_command(text: str) -> Markup:
    """A command that can be pasted is shown as one; what is said in words, as words."""
    return element("code", line(text), class_="command") if is_command(text) else line(text)


def show_facts(seen: OutputSeen, outline: Outline) -> Markup:
    """What the output holds, who uses it, what was found."""
    found = seen.diagnosis
    if found is None:
        return NOTHING
    return join(
        (
            sentences(seen.unread),
            outline.section("At work", "work", _show_sight(seen.sight)),
            outline.section("Accounts", "accounts", _show_accounts(found, outline)),
            outline.section("What is known", "known", _show_known(seen, found)),
            outline.section("Findings", "findings", _show_findings(found)),
        )
    )


def _show_accounts(found: Diagnosis, outline: Outline) -> Markup:
    if found.contents.tables:
        return listing([("tables", join_names(found.contents.tables))])
    if not found.items.source:
        return NOTHING
    usage = found.contents.usage
    return join(
        (
            draw_accounts(found.items, outline.prefix),
            *(note(line(each)) for each in (found.items.show(), show_output(found))),
            listing(tell_usage(usage) if usage is not None else ()),
        )
    )


def join_names(names: tuple[str, ...]) -> Markup:
    shown = [key(name) for name in names[:INPUTS_MAX]]
    spaced = [piece for each in shown for piece in (", ", each)][1:]
    left = len(names) - len(shown)
    return join((*spaced, f" and {left:,} more" if left > 0 else ""))


def _show_sight(sight: Sight | None) -> Markup:
    if sight is None:
        return NOTHING
    rows = [
        (key(each.key), f"{show_clock(each.seconds)}{' or longer' * each.is_longer}")
        for each in sight.in_hand[:IN_HAND_MAX]
    ]
    columns = (Column("item"), Column("in hand for", True))
    return join(
        (
            listing([("since", show_recorded(sight.since)), ("rate", tell_rate(sight))]),
            table("Items in hand", columns, rows, layout="narrow wide"),
            more(len(sight.in_hand) - len(rows), "item"),
        )
    )


def _show_known(seen: OutputSeen, found: Diagnosis) -> Markup:
    return join((listing(_list_known(seen, found)), _show_orphans(found)))


def _list_known(seen: OutputSeen, found: Diagnosis) -> Iterator[tuple[str, str | Markup]]:
    for name, value in list(found.parameters.items())[:INPUTS_MAX]:
        yield "key", f"{name}={value}"
    if (holder := found.holder) is not None:
        where = f" on {holder.host}" if holder.host else ""
        since = (" since ", show_recorded(holder.since)) if holder.since else ()
        yield "holder", join((line(f"process {holder.pid or 'unknown'}{where}"), *since))
    if found.readers and found.state is not State.NEW:
        yield "readers", f"see {found.readers}"
    for hint in found.hints:
        yield "hint", hint
    if seen.in_hand:
        told = f"{count_of(len(seen.in_hand), 'item')} when the last run was killed: "
        yield "in hand", join((told, join_names(seen.in_hand)))
    for each in sorted(found.inputs, key=lambda each: each.is_readable)[:INPUTS_MAX]:
        size = f", {show_bytes(each.bytes)}" if each.bytes is not None else ""
        yield "input", f"{each.path}: {'readable' if each.is_readable else each.problem}{size}"
    if (left := len(found.inputs) - INPUTS_MAX) > 0:
        yield "input", f"and {left:,} more"
    if found.missing:
        yield (
            "missing",
            join((f"{count_of(len(found.missing), 'key')}: ", join_names(found.missing))),
        )


def _show_findings(found: Diagnosis) -> Markup:
    order = list(Severity)
    told = [each for each in found.findings if each.severity is not Severity.NOTE]
    told.sort(key=lambda each: -order.index(each.severity))
    rows = [
        (
            key(each.path),
            each.evidence,
            each.severity.value,
            each.advise(found.path, found.destinations),
            code(each.code.value),
        )
        for each in told[:FINDINGS_MAX]
    ]
    columns = [Column(head) for head in ("path", "evidence", "severity", "safe action", "code")]
    caption = f"{count_of(len(told), 'finding')}, the worst first"
    return join((table(caption, columns, rows), more(len(told) - len(rows), "finding")))


def _show_orphans(found: Diagnosis) -> Markup:
    rows = [
        (
            key(each.path),
            show_bytes(each.bytes),
            f"{show_age(each.age_seconds)} old",
            each.owner or "",
        )
        for each in found.orphans[:ORPHANS_MAX]
    ]
    columns = (Column("file"), Column("size", True), Column("age", True), Column("of"))
    caption = f"{count_of(len(found.orphans), 'file')} of dead runs"
    return join((table(caption, columns, rows), more(len(found.orphans) - len(rows), "file")))


def list_destinations(found: Diagnosis) -> Markup:
    """What each destination has, or was given where it could not be looked at."""
    rows = []
    for given in found.destinations[:FINDINGS_MAX]:
        why = found.unseen.get(given.target)
        held = show_held(found, given)
        rows.append(
            (
                key(name_destination(found, given)),
                given.kind,
                f"{held}{tell_uncounted(given)}" if why is None else f"was given {held}; {why}",
                show_recorded(given.time),
            )
        )
    columns = (*map(Column, ("destination", "kind", "contents")), Column("recorded", is_short=True))
    return join(
        (
            table("Destinations", columns, rows),
            more(len(found.destinations) - len(rows), "destination"),
        )
    )
