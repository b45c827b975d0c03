"""Pictures, drawn as SVG. Each has a name, a description, and a table that says the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain

from batten.model.rules.accounting import Accounts
from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join, plain
from batten.page.drawing.blocks import Column, folded, line, table
from batten.page.pace import Throughput, read_time

_WIDTH, _SUM_HEIGHT, _TIME_HEIGHT = 1000, 24, 120
_LEAST = 4.0
"""So wide is what is there at all."""
_GAP = 6.0
"""Between runs."""
_PARTS = (
    ("committed", "rows are published"),
    ("filtered", "gave no row"),
    ("quarantined", "failed for good"),
    ("duplicate", "the key came before"),
    ("staged", "finished or failed for good, not published yet"),
    ("pending", "neither"),
)


def draw_accounts(items: Accounts, prefix: str) -> Markup:
    """Items by what became of them: a bar, and the table of its parts."""
    found = [(name, told, getattr(items, name)) for name, told in _PARTS]
    shown = [each for each in found if each[2] or each[0] in ("committed", "quarantined")]
    widths = [max(_LEAST, _WIDTH * n / items.source) if n else 0.0 for _, _, n in shown]
    scale = _WIDTH / sum(widths) if sum(widths) else 0.0
    at, bars = 0.0, []
    for (name, _, _), width in zip(shown, widths, strict=True):
        bars.append(_rect(at, 0, width * scale, _SUM_HEIGHT, name))
        at += width * scale
    picture = _svg(
        f"{prefix}sum", "sum", "What became of the items", items.show(), _SUM_HEIGHT, bars
    )
    rows = [
        (
            element(
                "span",
                element("span", class_=f"swatch {name}", aria_hidden="true"),
                name,
                class_="outcome",
            ),
            f"{count:,}",
            _share(count, items.source),
            told,
        )
        for name, told, count in shown
    ]
    columns = (Column("outcome"), Column("items", True), Column("share", True), Column("meaning"))
    return join(
        (
            element("figure", picture),
            table(
                f"{count_of(items.source, 'item')} of the source",
                columns,
                rows,
                layout="narrow sums",
            ),
        )
    )


def _share(count: int, whole: int) -> str:
    """`0.1%`: what is there at all is more than nothing, and what is not all is less than that."""
    if not whole:
        return ""
    share = count / whole
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def draw_pace(pace: Throughput, prefix: str) -> Markup:
    """Items published, run by run, in bars of equal time; the red part are quarantined ones."""
    spans = [max(1, len(run.bars)) for run in pace.runs]
    width = (_WIDTH - _GAP * (len(spans) - 1)) / sum(spans)
    most = max((bar.items for run in pace.runs for bar in run.bars), default=0.0)
    if not most:
        return NOTHING
    if sum(spans) == 1:
        whole = f"{round(most):,} items were published within {show_seconds(pace.bar_seconds)}, at "
        return element("p", whole, show_time(pace.runs[0].began))
    bars = list(chain.from_iterable(_draw_runs(pace, width, most)))
    first, last = pace.runs[0], pace.runs[-1]
    total = sum(bar.items for run in pace.runs for bar in run.bars)
    per_bar = show_seconds(pace.bar_seconds)
    told = (
        f"{round(total):,} items in {count_of(len(pace.runs), 'run')}, "
        f"from {show_time(first.began)} to {show_time(last.ended)}; at most "
        f"{round(most):,} items in {per_bar}. The table below has the numbers."
    )
    picture = _svg(f"{prefix}time", "time", "Items published over time", told, _TIME_HEIGHT, bars)
    legend = (
        element(
            "span",
            element("span", class_=f"swatch {outcome}", aria_hidden="true"),
            told,
            class_="outcome",
        )
        for outcome, told in (("committed", "published"), ("quarantined", "quarantined"))
    )
    return element(
        "figure",
        element(
            "p",
            element("span", f"at most {round(most):,} items in {per_bar}"),
            element("span", *legend),
            class_="axis",
        ),
        picture,
        element(
            "p",
            element("span", show_time(first.began)),
            element("span", show_time(last.ended)),
            class_="axis",
        ),
        folded("The same as a table", _tabulate(pace)),
    )


def _draw_runs(pace: Throughput, width: float, most: float) -> Iterator[list[Markup]]:
    at = 0.0
    for run in pace.runs:
        count = max(1, len(run.bars))
        drawn = [_rect(at, 0, width * count, _TIME_HEIGHT, "span")]
        for number, bar in enumerate(run.bars):
            left, inner = at + number * width, width * 0.86
            failed = _TIME_HEIGHT * bar.quarantined / most
            failed = max(failed, 2.0) if bar.quarantined else 0.0
            height = max(_TIME_HEIGHT * bar.items / most, failed)
            top = _TIME_HEIGHT - height
            if height > failed:
                drawn.append(_rect(left, top, inner, height - failed, "committed"))
            if failed:
                drawn.append(_rect(left, _TIME_HEIGHT - failed, inner, failed, "quarantined"))
        yield drawn
        at += width * count + _GAP


def _tabulate(pace: Throughput) -> Markup:
    rows = []
    for run in pace.runs:
        for number, bar in enumerate(run.bars):
            if bar.items:
                began = run.began + number * pace.bar_seconds
                rows.append(
                    (
                        show_time(began),
                        f"{round(bar.items):,}",
                        f"{round(bar.quarantined):,}",
                        f"{bar.items / pace.bar_seconds:,.1f}",
                    )
                )
    columns = (
        Column("from"),
        Column("items", True),
        Column("quarantined", True),
        Column("items a second", True),
    )
    caption = f"Items published, {show_seconds(pace.bar_seconds)} a row"
    return table(caption, columns, rows, layout="narrow wide")


def show_time(seconds: float) -> str:
    """`2026-11-21 08:00:00 UTC`"""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return "a time that no calendar has"


def show_recorded(text: str) -> Markup:
    """A time as it is recorded, in the form that times have on the page if it is one."""
    seconds = read_time(text)
    return line(text, 40) if seconds is None else plain(show_time(seconds))


def show_seconds(seconds: float) -> str:
    """`5 s`, `2 min`, `3 h`, `4 d`, whatever fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return element(
        "rect", x=_short(x), y=_short(y), width=_short(width), height=_short(height), class_=kind
    )


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _svg(
    ident: str, kind: str, title: str, description: str, height: int, drawn: list[Markup]
) -> Markup:
    return element(
        "svg",
        element("title", title, id=f"{ident}-title"),
        element("desc", description, id=f"{ident}-desc"),
        *drawn,
        role="img",
        aria_labelledby=f"{ident}-title",
        aria_describedby=f"{ident}-desc",
        viewBox=f"0 0 {_WIDTH} {height}",
        preserveAspectRatio="none",
        class_=kind,
    )
