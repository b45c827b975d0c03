"""An adoption for people: what was taken, and what was not."""

from __future__ import annotations

from collections.abc import Iterator

from batten.adopting.adopt import Adopted
from batten.adopting.finished import Passed
from batten.display.report_text import list_lines as list_report
from batten.model.audit.advice import show_key
from batten.model.telling.counts import count_of

_WORDS = {
    "torn_lines": "torn line",
    "malformed_lines": "malformed line",
    "without_key": "row without a key",
    "misfits": "row that doesn't fit",
    "doubled": "doubled row",
    "differing": "item with several rows",
    "unknown": "unknown key",
    "not_done": "row not done",
    "done_without_rows": "key without rows",
    "unfinished_files": "unfinished file",
}

_PLURALS = {
    "row without a key": "rows without a key",
    "row that doesn't fit": "rows that don't fit",
    "item with several rows": "items with several rows",
    "row not done": "rows not done",
    "key without rows": "keys without rows",
}


def list_lines(adoption: Adopted) -> Iterator[str]:
    """The lines for people."""
    yield from list_report(adoption.report)
    if adoption.passed:
        yield "  not taken:"
    for each in adoption.passed:
        yield f"    {_describe(each)}"


def _describe(passed: Passed) -> str:
    word = _WORDS[passed.kind]
    counted = count_of(passed.count, word, _PLURALS.get(word, f"{word}s"))
    names = ", ".join(map(show_key, passed.names))
    more = passed.count - len(passed.names)
    rest = f" and {more:,} more" if more else ""
    first = f"{show_key(passed.names[0])}: " if passed.count > 1 else ""
    return f"{counted}: {names}{rest} ({first}{passed.why})"
