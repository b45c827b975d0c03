"""Faults as values: they read as what makes them, and refuse nonsense."""

from __future__ import annotations

import errno

import pytest

from batten.crashlab import faults
from batten.crashlab.faults import Fail, Fault, KillBefore, Meanwhile, TearWrite, Victims
from batten.crashlab.tracing import system_calls
from batten.crashlab.tracing.system_calls import CallKind


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (KillBefore(3), "KillBefore(3)"),
        (TearWrite(1, victims=Victims.CALLER), "TearWrite(1, victims=Victims.CALLER)"),
        (
            Fail(2, kinds=frozenset({CallKind.SYNC}), path="*.new", error=errno.EIO, times=None),
            "Fail(2, kinds=frozenset({CallKind.SYNC}), path='*.new', error=5, times=None)",
        ),
        (Meanwhile(1, command=("ls", "/")), "Meanwhile(1, command=('ls', '/'))"),
    ],
)
def test_the_text_of_a_fault_makes_it_again(fault: Fault, text: str) -> None:
    assert repr(fault) == text
    assert eval(text, {**vars(faults), **vars(system_calls)}) == fault


def test_calls_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        KillBefore(0)
