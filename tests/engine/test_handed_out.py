"""What the schedule asks of the tasks in hand is counted as they come and go."""

from __future__ import annotations

import random
from collections import deque

from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import OpenBatch, Range


def draw_work(dice: random.Random) -> Range | None:
    kind = dice.randrange(3)
    if not kind:
        return None
    return Range(start=0, stop=dice.randint(1, 5), company=1 if kind == 1 else None)


def test_the_counts_are_those_of_what_is_in_hand(seeded: random.Random) -> None:
    handed_out, batch = HandedOut(), OpenBatch(number=0, items=9, todo=deque())
    known: dict[int, Range | None] = {}
    begun: set[int] = set()
    for _ in range(2000):
        act = seeded.random()
        if act < 0.5 or not known:
            work = draw_work(seeded)
            known[handed_out.add(batch, work)] = work
        elif act < 0.7:
            number = seeded.choice(list(known))
            handed_out.begin(number)
            begun.add(number)
        else:
            number = seeded.choice(list(known))
            assert handed_out.end(number) == (batch, known.pop(number))
        works = [work for work in known.values() if work is not None]
        assert handed_out.count_work() == len(works)
        assert handed_out.has_suspects == any(work.company for work in works)
        assert handed_out.list_waiting() == [
            work.stop - work.start
            for number, work in known.items()
            if work is not None and number not in begun
        ]
        assert len(handed_out) == len(known)
