"""What a run and its workers on other machines write for each other.

    features.batten/workers/board.json       of the run: who has which work
    features.batten/workers/<worker>.json    of a worker: what it has begun, and what became of it

Each file has one writer, and is written anew in the place of the version that its writer wrote
before. So no two claims can be in each other's way, and nothing has to be deleted in between. None
of it says anything of the dataset (decision 0130).
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from batten.model.disk.bounds import MEBIBYTE, Count, Many, Name, Number, Prose, Real, Text, Version
from batten.model.disk.runs.holders import PID_MAX
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

WORKERS_MAX = 10_000
TASKS_MAX = 10_000
BOARD = "board"

WorkerName = Annotated[str, Text(160, r"[0-9A-Za-z_.-]{1,160}")]
"""Becomes the name of a file."""
Message = Annotated[str, Text(16 * MEBIBYTE)]
"""A task, or what became of it, as JSON."""
Sequence = Annotated[int, Number(0, 10**15)]


@value_class
class GivenTask:
    """Work that the run gave to a worker; its number is of this run."""

    number: Sequence
    text: Message


@value_class
class Hand:
    """What the board says to one worker: its tasks in order, and the number of the last of its
    answers that was heard."""

    worker: WorkerName
    heard: Sequence
    tasks: Annotated[list[GivenTask], Many(TASKS_MAX)]


@value_class
class Board:
    """Of one run. `fingerprint` is that of its job, and `version` that of batten: others can't
    work for it. `output` and `home` say which dataset is made, `segments` how far it is planned.
    `schema` is its pinned columns in base64. A worker without a sign for `gone_seconds` is given
    up. `machines` share the rates at which hosts may be called. `budget` is how much the dataset
    may use, if that is said. `ended` says how the run ended, and is empty while it goes on."""

    run: Name
    host: Name
    pid: Annotated[int, Number(0, PID_MAX)]
    version: Name
    fingerprint: Name
    output: Prose
    home: Prose
    segments: Count
    gone_seconds: Annotated[float, Real(0.01, 10**6)]
    machines: Annotated[int, Number(1, WORKERS_MAX + 1)] = 1
    schema: Annotated[str, Text(64 * MEBIBYTE)] = ""
    budget: Prose = ""
    is_draining: bool = False
    ended: Prose = ""
    beat: Sequence = 0
    hands: Annotated[list[Hand], Many(WORKERS_MAX)] = field(default_factory=list)
    format_version: Version = FORMAT_VERSION


@value_class
class ToldEvent:
    """What became of a task; or what is told of it before its end, where it is no end. Numbers
    follow each other."""

    number: Sequence
    task: Sequence
    is_end: bool
    text: Message


@value_class
class BegunTask:
    """A task that the worker has begun, and when by its own clock: for people. It may have so many
    `calls` in hand, which are lost with the worker."""

    task: Sequence
    since: Name
    calls: Annotated[int, Number(1, TASKS_MAX)] = 1


@value_class
class Register:
    """Of one worker, for one run. It does `slots` tasks at a time. What it `begins` is written
    before it is begun. `events` are those that the run has not heard yet. One that `is_leaving`
    takes no further task. `beat` counts: a register that stays the same is that of a worker which
    is gone."""

    worker: WorkerName
    run: Name
    host: Name
    pid: Annotated[int, Number(0, PID_MAX)]
    since: Name
    slots: Annotated[int, Number(1, 100_000)]
    beat: Sequence = 0
    is_leaving: bool = False
    begins: Annotated[list[BegunTask], Many(TASKS_MAX)] = field(default_factory=list)
    events: Annotated[list[ToldEvent], Many(TASKS_MAX)] = field(default_factory=list)
    format_version: Version = FORMAT_VERSION
