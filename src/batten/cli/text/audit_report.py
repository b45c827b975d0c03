"""An audit for people: lines for a screen of 80 columns; and the file of all keys."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from batten.model.audit.advice import show_key
from batten.model.telling.counts import count_of
from batten.storage.local.stand_alone import publish_file
from batten.strangers.audit import AuditReport

_WIDTH = 80
_KEYS_SHOWN = 5


def write_keys(report: AuditReport, path: str) -> None:
    """Every key that is missing, extra or duplicate, a JSON record each, in one durable file."""
    audit = report.audit
    recoverable = frozenset(audit.recoverable)
    with publish_file(path, "w") as file:
        for key in audit.missing:
            record = {"key": key, "is": "missing", "is_recoverable": key in recoverable}
            file.write(json.dumps(record) + "\n")
        for word, keys in (("extra", audit.extra), ("duplicate", audit.duplicates)):
            file.writelines(json.dumps({"key": key, "is": word}) + "\n" for key in keys)


def list_lines(report: AuditReport, keys_file: str | None = None) -> Iterator[str]:
    """The lines for people, with the first few keys of each kind."""
    audit = report.audit
    yield report.state
    yield from _wrap(report.advice.reason)
    yield ""
    yield f"done     {audit.done:>10,}  {_describe('line', audit.done_keys, report.files.done)}"
    yield f"rows     {audit.rows:>10,}  {_describe('row', audit.row_keys, report.files.rows)}"
    if audit.staged:
        yield f"staged   {len(audit.staged.keys):>10,}  whole lines of {report.files.staging}"
        yield f"         {audit.staged.torn_lines:>10,}  torn"
        yield f"         {len(audit.staged.malformed):>10,}  malformed"
    yield ""
    yield from _list_keys("missing", audit.missing, "done, but without a row")
    if audit.missing and audit.staged:
        yield f"         {len(audit.recoverable):>10,}  of these can be recovered from staging"
    yield from _list_keys("extra", audit.extra, "rows, but not done")
    yield from _list_keys("duplicate", audit.duplicates, "keys of more than one row")
    if audit.null_keys:
        yield f"no key   {audit.null_keys:>10,}  rows whose key is null"
    if audit.broken:
        yield f"broken   {len(audit.broken):>10,}  lines of the rows that hold no row"
    if report.advice.hints:
        yield ""
    for hint in report.advice.hints:
        yield from _wrap(hint, "- ")
    yield ""
    yield "Nothing was changed. Next:"
    for number, step in enumerate(report.advice.next, start=1):
        yield from _wrap(step, f"{number}. ")
    if keys_file is not None:
        yield f"All keys: {keys_file}"
    elif max(len(audit.missing), len(audit.extra), len(audit.duplicates)) > _KEYS_SHOWN:
        yield "All keys: the same command with --keys FILE, or with --json."


def _describe(noun: str, keys: int, name: str) -> str:
    return f"{noun}s with {count_of(keys, 'key')} in {name}"


def _list_keys(word: str, keys: Sequence[str], meaning: str) -> Iterator[str]:
    yield f"{word:<9}{len(keys):>10,}  {meaning}"
    for key in keys[:_KEYS_SHOWN]:
        yield f"{'':21}{show_key(key, characters_max=_WIDTH - 21)}"
    if len(keys) > _KEYS_SHOWN:
        yield f"{'':21}and {len(keys) - _KEYS_SHOWN:,} more"


def _wrap(text: str, mark: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
