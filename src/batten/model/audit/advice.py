"""What an audit means and what is safe to do about it, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

from batten.model.audit.comparison import Audit, MissingPlace, StagedKeys
from batten.model.telling.commands import as_path, command
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.printable import escape


@value_class
class AuditedFiles:
    """What the user called the files. `changed` are those that changed while they were read,
    `unread` those in the folder of rows that were passed over."""

    done: str
    rows: str
    key: str
    staging: str | None = None
    changed: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@value_class
class Advice:
    """The `reason` in a sentence, `hints` at how it came about, and what to do `next` in steps."""

    reason: str
    hints: tuple[str, ...]
    next: tuple[str, ...]


def advise(audit: Audit, files: AuditedFiles) -> Advice:
    """Explain an audit to the owner of the files."""
    return Advice(
        reason=_explain(audit, files),
        hints=(*_hint_at_cause(audit, files), *_hint_at_files(audit, files)),
        next=tuple(_list_steps(audit, files)),
    )


_BROKEN_TOLD = 3


def show_key(key: str, *, characters_max: int = 60) -> str:
    """The key on one line of a screen: what can't be printed is escaped, what is long is cut."""
    shown = escape(key)
    return shown if len(shown) <= characters_max else shown[: characters_max - 3] + "..."


def _explain(audit: Audit, files: AuditedFiles) -> str:
    if audit.is_consistent:
        return (
            f"Each of the {count_of(audit.done_keys, 'key')} of {files.done} has exactly one row."
        )
    faults = []
    if lost := len(audit.missing):
        faults.append(f"{lost:,} of its {count_of(audit.done_keys, 'key')} {_have(lost)} no row")
    if extra := len(audit.extra):
        faults.append(
            f"{count_of(extra, 'key')} with a row {'is' if extra == 1 else 'are'} not in it"
        )
    if repeated := len(audit.duplicates):
        faults.append(f"{count_of(repeated, 'key')} {_have(repeated)} more than one row")
    if audit.null_keys:
        faults.append(f"{count_of(audit.null_keys, 'row')} {_have(audit.null_keys)} no key")
    if audit.broken and not faults:
        held = count_of(len(audit.broken), "line")
        return f"Every key has exactly one row, but {held} of {files.rows} {_hold(audit)} no row."
    if audit.broken:
        faults.append(f"{count_of(len(audit.broken), 'line')} of the rows {_hold(audit)} no row")
    return f"Do not trust {files.done}: {_join(faults)}."


def _hold(audit: Audit) -> str:
    return "holds" if len(audit.broken) == 1 else "hold"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _hint_at_cause(audit: Audit, files: AuditedFiles) -> Iterator[str]:
    if audit.is_hidden_by_counts:
        yield (
            f"The counts agree ({audit.done:,} and {audit.rows:,}) but the keys do not. "
            "A check that compares numbers sees nothing wrong."
        )
    if audit.missing:
        yield (
            f"A job that goes by {files.done} says 'nothing to do' on every run, "
            f"and {count_of(len(audit.missing), 'row')} will never be made."
        )
    if audit.missing_place is MissingPlace.TAIL:
        yield (
            f"The missing keys are exactly the last {len(audit.missing):,}: "
            "they were marked as done, and the run ended before their rows were kept."
        )
    if audit.missing_place is MissingPlace.HEAD:
        yield (
            f"Only the last {count_of(audit.done_keys - len(audit.missing), 'key')} have rows: "
            "a later run may have replaced the file with nothing but its own rows."
        )
    if audit.missing_place is MissingPlace.EVERYWHERE and audit.examples:
        first_done, first_row = (show_key(key) for key in audit.examples)
        yield (
            f"No key is in both: the first are '{first_done}' and '{first_row}'. "
            "If these name the same item, name the column that is written like the done file."
        )


def _hint_at_files(audit: Audit, files: AuditedFiles) -> Iterator[str]:
    for line in audit.broken[:_BROKEN_TOLD]:
        yield f"Line {line.number:,} of {line.file} holds no row: {line.why}."
    if audit.torn_key is not None:
        yield (
            f"The last line of {files.done} has no newline: "
            f"'{show_key(audit.torn_key)}' may be cut short."
        )
    if audit.done_duplicates:
        yield f"{files.done} names {count_of(len(audit.done_duplicates), 'key')} more than once."
    if audit.staged:
        yield from _hint_at_staging(audit, audit.staged, files)
    elif audit.missing:
        yield (
            "If the job kept rows in a JSONL file, name it with --staging FILE.jsonl "
            "to see how many of the missing rows are there."
        )
    if files.unread:
        yield (
            f"{count_of(len(files.unread), 'file')} of {files.rows} not read, for the name: "
            f"{show_key(files.unread[0])}{' and others' if len(files.unread) > 1 else ''}."
        )
    if files.changed:
        yield (
            f"{' and '.join(files.changed)} changed during the audit: a job is still writing. "
            "Stop it and audit again before you go by this."
        )


def _hint_at_staging(audit: Audit, staged: StagedKeys, files: AuditedFiles) -> Iterator[str]:
    if staged.torn_lines:
        yield (
            f"The last line of {files.staging} is torn: a crash cut it. "
            "A reader that skips it loses that row without a word."
        )
    if staged.malformed:
        first = staged.malformed[0]
        yield (
            f"{count_of(len(staged.malformed), 'line')} of {files.staging} malformed, "
            f"the first is line {first.number:,}: {first.why}."
        )
    if audit.staged_only:
        yield (
            f"{count_of(len(audit.staged_only), 'key')} of {files.staging} are neither done "
            "nor rows: work that was finished and would be repeated."
        )


def _adopt(files: AuditedFiles) -> str:
    """The command that takes the rows there are, with names for what has to be filled in."""
    rows = [as_path(name) for name in (files.rows, files.staging) if name]
    return command("adopt", *rows, "--key", files.key, "--into", "OUT", "--job", "JOB.py")


def _list_steps(audit: Audit, files: AuditedFiles) -> Iterator[str]:
    if audit.is_consistent:
        yield "Nothing to do."
        return
    names = [name for name in (files.done, files.rows, files.staging) if name]
    yield (
        f"Stop the job and copy {_join(names)} to a safe place: "
        "the next run may replace the rows with only its own."
    )
    lost = len(audit.unrecoverable)
    if audit.recoverable:
        yield (
            f"{len(audit.recoverable):,} of the {count_of(len(audit.missing), 'missing row')} "
            f"can be recovered from {files.staging}: add them to {files.rows}, "
            f"and keep {files.staging} until an audit finds them there."
        )
    if lost:
        noun = "other missing key" if audit.recoverable else "missing key"
        yield (
            f"Remove the {count_of(lost, noun)} from {files.done} "
            "and run the job again to make what is lost."
        )
    if audit.broken:
        yield (
            f"Remove the {count_of(len(audit.broken), 'line')} without a row from the rows: "
            "readers stop there, or pass over what follows."
        )
    if audit.extra:
        yield (
            f"Add the {count_of(len(audit.extra), 'extra key')} to {files.done} "
            "if their rows are good; otherwise the job makes second rows for them."
        )
    if audit.duplicates:
        yield f"Keep one row of each of the {count_of(len(audit.duplicates), 'duplicate key')}."
    if audit.null_keys:
        yield f"Find out what the {count_of(audit.null_keys, 'row')} without a key belong to."
    yield (
        "Or leave this job, and let batten compute only what has no whole row: write its function "
        f"as a job, then {_adopt(files)}"
    )
    yield "Audit again: exit code 0 says that every key that is done has exactly one row."
