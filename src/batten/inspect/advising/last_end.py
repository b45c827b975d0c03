"""What ended the last run, by facts that it logged and by the machine as it is now.

`outlook` goes by it (decision 0030).
"""

from __future__ import annotations

import os
from typing import Any

from batten.ledger.history.runs import AT_ONCE, RunLog
from batten.model.disk.names import Layout
from batten.model.telling.sizes import show_bytes
from batten.model.value_class import value_class
from batten.storage.base import Store
from batten.storage.machine import Machine

_NEARLY_FULL_BYTES = 1 << 30
_NEARLY_FULL_SHARE = 0.02


@value_class
class Evidence:
    """What is known of the end of the last run and of the machine; empty texts where nothing is.

    `was_killed` is proven; `end` is told where no end was logged; `signal` was logged; `error` is
    what the run itself said when it stopped; `has_paused`: it did so in good order, for a vendor's
    answers or a budget perhaps; `memory_kills`: what the kernel has killed since it
    began, by its counters; `has_counted_kills`: they were recorded; `disk`: why nothing can be
    written now; `elsewhere`: the last run was on another machine; `refusal`: why one after it was
    not let begin."""

    was_killed: bool
    end: str
    signal: str
    error: str
    has_paused: bool
    memory_kills: str
    has_counted_kills: bool
    has_restarted: bool | None
    elsewhere: str
    in_hand: str
    disk: str
    refusal: str


def gather_evidence(
    storage: Store,
    layout: Layout,
    run: RunLog,
    machine: Machine | None = None,
    *,
    needed_bytes: int = 0,
    refusal: RunLog | None = None,
    in_hand: str = "",
) -> Evidence:
    """Of the last run. For a place that no live run holds. `needed_bytes` is about what the next
    run will write. `refusal` is a later run that was not let begin. `in_hand` tells of items."""
    machine = machine or Machine()
    boot, host = _text(run.start, "boot"), _text(run.start, "host")
    here, boot_now = os.uname().nodename, machine.observe_boot()
    is_here = not host or host == here
    has_restarted = boot != boot_now if boot and boot_now and is_here else None
    kills, has_counted = _tell_memory_kills(run, machine, has_restarted)
    return Evidence(
        was_killed=run.was_killed,
        end=_tell_end(run),
        signal=_tell_signal(run),
        error=_tell_error(run),
        has_paused=run.was_interrupted and not run.signals,
        memory_kills=kills,
        has_counted_kills=has_counted,
        has_restarted=has_restarted,
        elsewhere="" if is_here else f"the last run was on {host}, this is {here}",
        in_hand=in_hand if run.stop is None else "",
        disk=tell_disk(storage.place, needed_bytes),
        refusal=tell_refusal(refusal) if refusal is not None else "",
    )


def list_hints(evidence: Evidence) -> list[str]:
    """The evidence in sentences, for people."""
    hints = [evidence.refusal, evidence.signal]
    if evidence.end:
        hints.append(evidence.end)
        hints.append(evidence.in_hand)
        if evidence.has_restarted is not None:
            word = "has" if evidence.has_restarted else "has not"
            hints.append(f"the machine {word} restarted since")
        if evidence.has_counted_kills and not evidence.memory_kills:
            hints.append("the kernel has killed nothing for want of memory since it began")
    hints += [evidence.elsewhere, evidence.error, evidence.memory_kills, evidence.disk]
    return [hint for hint in hints if hint]


def tell_disk(place: str, needed_bytes: int = 0) -> str:
    """Why the next run, which needs about so much, may not be able to write, or nothing."""
    try:
        status = os.statvfs(place)
    except OSError:
        return ""
    if status.f_flag & os.ST_RDONLY:
        return "the filesystem is mounted read-only: nothing can be written there"
    free, whole = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if free < needed_bytes:
        needed = show_bytes(needed_bytes)
        return f"the disk has too little room: {show_bytes(free)} free; about {needed} are needed"
    if free < min(_NEARLY_FULL_BYTES, whole * _NEARLY_FULL_SHARE):
        return f"the disk is nearly full: {show_bytes(free)} free; the next run may end for that"
    if status.f_files and not status.f_favail:
        return "the filesystem has no room for more files; the next run may end for that"
    return ""


def _tell_memory_kills(
    run: RunLog, machine: Machine, has_restarted: bool | None
) -> tuple[str, bool]:
    """What the kernel's counters say, and whether there is something to compare them with. A
    restart sets them to 0; a group of another name is another container."""
    before = run.start.get("memory_kills")
    if not isinstance(before, dict) or has_restarted is not False:
        return "", False
    now = machine.count_memory_kills()
    for count, earlier, whose in (
        (now.in_group, before.get("in_group"), "this container's"),
        (now.on_machine, before.get("on_machine"), "this machine's"),
    ):
        is_same = whose != "this container's" or before.get("group") == now.group
        if isinstance(earlier, int) and count is not None and is_same and count > earlier:
            killed = f"the kernel has killed {count - earlier} of {whose} processes"
            return f"out of memory: since the last run began {killed}", True
    return "", any(isinstance(before.get(name), int) for name in ("in_group", "on_machine"))


def _tell_end(run: RunLog) -> str:
    if run.stop is not None:
        return ""
    if not run.was_killed:
        return "no end of the last run was logged: it was killed, or could not write its log"
    if run.run:
        return "the last run was killed: no stop was logged"
    who = f"process {run.start.get('pid')}, which took the lock at {_text(run.start, 'time')},"
    return f"{who} was killed: it logged nothing, and did not let go of the lock"


def _tell_signal(run: RunLog) -> str:
    if not run.signals:
        return ""
    last = run.signals[-1]
    name = _text(last, "signal") or _text(last, "name") or "a signal"
    return f"the last run was sent {name} at {_text(last, 'time') or 'an unknown time'}"


def tell_refusal(refusal: RunLog) -> str:
    """That it ended before it began to work, and why."""
    time = _text(refusal.start, "time") or "an unknown time"
    return f"the run of {time} did not begin: {_find_error(refusal) or 'no reason was logged'}"


def tell_late_failure(run: RunLog | None) -> str:
    """What failed after all was complete: a step that makes a second dataset."""
    is_failure = run is not None and run.stop is not None and run.stop.get("status") == "failed"
    return _tell_error(run) if run is not None and is_failure else ""


def _tell_error(run: RunLog) -> str:
    error = _find_error(run)
    if run.stop is None or run.was_refused or not error:
        return ""
    if run.was_interrupted and run.signals:
        # The signal says that already.
        return f"the last run: {error}" if error.startswith(AT_ONCE) else ""
    return f"the last run stopped by itself ({_text(run.stop, 'status')}): {error}"


def _find_error(run: RunLog) -> str:
    """The first line of what it said when it stopped."""
    error = run.stop.get("error") if run.stop else None
    if isinstance(error, dict):
        error = error.get("what")
    return error.splitlines()[0] if isinstance(error, str) and error else ""


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""
