"""Names of what is staged: finished chunks, sealed batches and their quarantined items."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batten.model.patterns import pattern
from batten.model.value_class import value_class

DIGEST_CHARACTERS = 32
"""How much of a SHA-256, in hexadecimal, the name of a staged file carries."""

SOME_ITEMS_MAX = 256
"""A chunk that lacks items spans at most so many, since its name has a bit for each."""

NUMBER = r"(\d{6}|[1-9]\d{6,17})"
"""A number in a name: as batten writes it, and no other text for the same one."""
CHUNK = pattern(
    rf"{NUMBER}-{NUMBER}-{NUMBER}-(?:([0-9a-f]{{1,64}})-)?([0-9a-f]{{32}})\.arrow", re.ASCII
)
SEALED = pattern(rf"{NUMBER}-(sealed|quarantine)-([0-9a-f]{{32}})\.parquet", re.ASCII)
_IN_STAGING = pattern(r"((?:.*/)?[^/]+\.batten)/(?:staged|staging)(?:/.*)?", re.DOTALL)


@value_class
class StagedChunk:
    """Finished items of `batch`, from `start` to `stop` (exclusive), counted in the batch. They are
    all of these, or those whose bits are set in `some`: the lowest bit stands for `start`, the
    highest for the last item.
    """

    batch: int
    start: int
    stop: int
    digest: str
    some: int | None = None

    @property
    def items(self) -> int:
        """How many it holds."""
        return self.stop - self.start if self.some is None else self.some.bit_count()

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Which it holds, as ranges in order."""
        if self.some is None:
            yield self.start, self.stop
            return
        for run in re.finditer("1+", f"{self.some:b}"[::-1]):
            yield self.start + run.start(), self.start + run.end()


@value_class
class StagedFile:
    """A sealed batch (`kind` "sealed") or its quarantined items (`kind` "quarantine")."""

    batch: int
    kind: str
    digest: str


def find_staged(name: str) -> StagedChunk | StagedFile | None:
    """What a file in `staged/` says of itself, or None if it says nothing known."""
    if match := CHUNK.fullmatch(name):
        return _read_chunk(match)
    if match := SEALED.fullmatch(name):
        return StagedFile(batch=int(match[1]), kind=match[2], digest=match[3])
    return None


def _read_chunk(match: re.Match[str]) -> StagedChunk | None:
    start, stop = int(match[2]), int(match[3])
    some = int(match[4], 16) if match[4] else None
    if some is not None and not (some & 1 and some.bit_length() == stop - start):
        return None
    return StagedChunk(batch=int(match[1]), start=start, stop=stop, digest=match[5], some=some)


def holds_throwaways(folder: str) -> bool:
    """Whether what lies in the folder can be made again, and so need not be durable."""
    return folder.rpartition("/")[2] in ("staging", "staged")


def find_staging_control(name: str) -> str:
    """The control folder in whose `staged/` or `staging/` a name is, or that is such a folder; else
    empty."""
    match = _IN_STAGING.fullmatch(name)
    return match[1] if match else ""
