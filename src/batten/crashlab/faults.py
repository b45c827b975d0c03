"""What can be done to a call: kill around it, tear it, fail it, or let something else happen first.

A fault's `number` counts, from 1, the calls that it applies to: those of its `kinds` whose path or
target matches its pattern. The order of calls of processes that run at the same time differs from
run to run, so the same number may be another call next time; `Traced.hit` says which it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase

from batten.crashlab.tracing.system_calls import ALL, CallKind, TracedCall


class Victims(StrEnum):
    """Who is killed, always with SIGKILL."""

    TREE = "the driver and everything it started"
    CALLER = "the process that makes the call"
    DRIVER = "the process that was started first"
    NOBODY = "nobody"

    def __repr__(self) -> str:
        return f"Victims.{self.name}"


@dataclass(frozen=True, repr=False)
class Fault:
    """The `number`-th call of `kinds` whose path or target matches the shell pattern `path`."""

    number: int
    kinds: frozenset[CallKind] = field(default=ALL, kw_only=True)
    path: str = field(default="*", kw_only=True)

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"calls are counted from 1, not from {self.number}")

    def __repr__(self) -> str:
        """What makes the fault again, without what is as usual."""
        values = [(each, getattr(self, each.name)) for each in fields(self)[1:]]
        unusual = [f"{each.name}={value!r}" for each, value in values if value != each.default]
        return f"{type(self).__name__}({', '.join([str(self.number), *unusual])})"

    def applies_to(self, call: TracedCall) -> bool:
        return call.kind in self.kinds and (
            fnmatchcase(call.path, self.path) or fnmatchcase(call.target, self.path)
        )

    def hits(self, ordinal: int) -> bool:
        """Whether the `ordinal`-th of the calls that it applies to is hit."""
        return ordinal == self.number

    def is_last(self, ordinal: int) -> bool:
        """Whether none after the `ordinal`-th is hit."""
        return ordinal >= self.number


@dataclass(frozen=True, repr=False)
class KillBefore(Fault):
    """The victims are killed and, where the caller is among them, the call never happens."""

    victims: Victims = field(default=Victims.TREE, kw_only=True)


@dataclass(frozen=True, repr=False)
class KillAfter(Fault):
    """The call happens; the victims are killed before the caller is told."""

    victims: Victims = field(default=Victims.TREE, kw_only=True)


@dataclass(frozen=True, repr=False)
class TearWrite(Fault):
    """Only the first half of the bytes, rounded up, is written; then the victims are killed.

    With `Victims.NOBODY` it is a short write, which the caller must notice."""

    victims: Victims = field(default=Victims.TREE, kw_only=True)

    def applies_to(self, call: TracedCall) -> bool:
        return call.kind is CallKind.WRITE and super().applies_to(call)


@dataclass(frozen=True, repr=False)
class Fail(Fault):
    """The call fails with the errno `error`, and so do those after it that the fault applies to:
    `times` in all, or for ever where that is None (a disk that stays full).

    With `is_done` the call is carried out and its failure is a lie, as on a network filesystem
    that lost the answer."""

    error: int = field(kw_only=True)
    times: int | None = field(default=1, kw_only=True)
    is_done: bool = field(default=False, kw_only=True)

    def hits(self, ordinal: int) -> bool:
        is_over = self.times is not None and ordinal >= self.number + self.times
        return ordinal >= self.number and not is_over

    def is_last(self, ordinal: int) -> bool:
        return self.times is not None and ordinal >= self.number + self.times - 1


@dataclass(frozen=True, repr=False)
class Meanwhile(Fault):
    """The caller is held just before the call while `command` runs, untraced, to its end; then
    the call goes on. `victims` are killed first: with `Victims.DRIVER` the caller is a worker
    that outlived its driver, and wakes up after another run has done its work."""

    command: tuple[str, ...] = field(kw_only=True)
    victims: Victims = field(default=Victims.NOBODY, kw_only=True)
