"""The whole page: of one output, or of many with the most urgent first (decision 0111).

The page has no address outside and no script. It stays below a size, however much there is: what is
left out is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from batten import __version__
from batten.garbage import collector_paused
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.survey import find_outputs, is_survey, rank_urgency
from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join, plain
from batten.model.value_class import value_class
from batten.model.words import Action, State
from batten.page.drawing.blocks import Column, Outline, key, line, more, note, table
from batten.page.drawing.style import POLICY, STYLE
from batten.page.looking import OutputSeen, look_at_output, look_briefly
from batten.page.sections.failures import show_failures
from batten.page.sections.history import show_lineage, show_pace, show_runs, show_slowest
from batten.page.sections.state import show_command, show_facts, show_state, show_verdict

DOCTYPE = "<!doctype html>\n<!-- a page of batten -->\n"
"""By it a page is known again, and may be replaced."""
ROWS_MAX = 1000
WHOLE_MAX = 60
"""So many outputs are shown whole."""
CHARACTERS_MAX = 2_500_000
"""Of outputs; when there are so many, no more outputs are shown whole."""

LookAt = Callable[[str], OutputSeen]


@value_class
class Page:
    """A page, and the states of the outputs that it tells of, by path."""

    html: str
    states: dict[str, State]

    def count(self) -> dict[str, int]:
        """How many outputs are in each state that is there, the most urgent first."""
        counted = Counter(sorted(self.states.values(), key=rank_urgency))
        return {state.value: count for state, count in counted.items()}


def make_page(
    paths: Sequence[str],
    expectations: Sequence[str],
    time: str,
    *,
    head: Markup = NOTHING,
    bar: Markup = NOTHING,
    look: LookAt = look_at_output,
) -> Page:
    """The page of these outputs as they are at that time. `head` goes into the head of it, `bar`
    stands below the title, and `look` looks at one of them whole. Raises `UsageError` if nothing is
    found."""
    with collector_paused():
        if is_survey(paths, expectations):
            return _make_of_many(find_outputs(paths, expectations), time, head, bar, look)
        seen = look(paths[0])
    body = (
        element("header", element("h1", key(seen.path)), _tell_made(time), bar),
        element("main", _show_output(seen, Outline(2, ""))),
    )
    title = f"{seen.state.value} · {seen.path}"
    return Page(html=put_together(title, head, *body), states={seen.path: seen.state})


def _make_of_many(paths: Sequence[str], time: str, head: Markup, bar: Markup, look: LookAt) -> Page:
    brief = [look_briefly(path) for path in paths]
    brief.sort(key=lambda seen: (rank_urgency(seen.state), seen.path))
    articles: list[Markup] = []
    for number, seen in enumerate(brief[:WHOLE_MAX]):
        if sum(map(len, articles)) > CHARACTERS_MAX:
            break
        outline = Outline(3, f"o{number}-")
        heading = element("h2", key(seen.path), id=f"o{number}")
        whole = _show_output(look(seen.path), outline)
        articles.append(element("article", heading, whole, aria_labelledby=f"o{number}"))
    states = {seen.path: seen.state for seen in brief}
    page = Page(html="", states=states)
    counts = ", ".join(f"{count:,} {state}" for state, count in page.count().items())
    told = f"{count_of(len(brief), 'output')}: {counts}"
    body = (
        element("header", element("h1", told), _tell_made(time), bar),
        element("main", _tabulate(brief, len(articles)), *articles),
    )
    return Page(html=put_together(told, head, *body), states=states)


def _tabulate(brief: Sequence[OutputSeen], whole: int) -> Markup:
    rows = [
        (
            element("a", key(seen.path), href=f"#o{number}") if number < whole else key(seen.path),
            show_state(seen.state),
            *_tell_briefly(seen.diagnosis, seen.problem),
        )
        for number, seen in enumerate(brief[:ROWS_MAX])
    ]
    columns = (
        Column("output"),
        Column("state"),
        Column("items", True),
        Column("quarantined", True),
        Column("rows", True),
        Column("next"),
    )
    left = len(brief) - whole
    told = f"The first {whole:,} are shown whole below; name fewer paths to see another."
    return join(
        (
            table("Outputs, the most urgent first", columns, rows),
            more(len(brief) - len(rows), "output"),
            note(told) if left else NOTHING,
        )
    )


def _tell_briefly(found: Diagnosis | None, problem: str) -> tuple[str | Markup, ...]:
    if found is None:
        return "", "", "", line(problem)
    items = found.items
    is_done = found.action in (Action.NOTHING, Action.LEAVE_ALONE)
    needs = found.action.value if is_done else show_command(found.next)
    if not items.source:
        return "", "", "", needs
    done = items.source - items.pending - items.staged
    told = f"{done:,} of {items.source:,}" if done < items.source else f"{items.source:,}"
    return told, f"{items.quarantined:,}", f"{found.rows:,}", needs


def _show_output(seen: OutputSeen, outline: Outline) -> Markup:
    return join(
        (
            show_verdict(seen),
            show_facts(seen, outline),
            show_pace(seen, outline),
            show_slowest(seen, outline),
            show_failures(seen, outline),
            show_runs(seen, outline),
            show_lineage(seen, outline),
        )
    )


def _tell_made(time: str) -> Markup:
    return note(f"as it was at {time} · batten {__version__}")


def put_together(title: str, head: Markup, *body: Markup) -> str:
    """A page of HTML."""
    meta = (
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
    )
    named = element("title", plain(title, 200))
    style = element("style", Markup(STYLE))
    whole = element(
        "html", element("head", *meta, head, named, style), element("body", *body), lang="en"
    )
    return f"{DOCTYPE}{whole}\n"
