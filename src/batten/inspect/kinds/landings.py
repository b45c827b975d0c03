"""What `batten.land` and topics fill, told by its files: it has no plan and is never finished.

Of a stream it is one folder; of a topic a folder for each partition, and `reached.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from batten.errors import RefusedError, StorageError
from batten.inspect.advising.words_of_states import Kind, LandingFacts, say
from batten.inspect.diagnosis import NO_RUN, Diagnosis
from batten.inspect.paths.output_path import Place, locate_output
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.model.disk.landed import (
    LandedFile,
    find_landed,
    keep_deleted,
    list_partition_names,
)
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import Damage, Facts, Ground, decide_state
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import State
from batten.sources.landed import read_whole


@value_class
class LandedStream:
    """A folder of landed items, and its files in order."""

    place: Place
    observation: Observation
    files: tuple[LandedFile, ...]

    @property
    def folder(self) -> Path:
        return Path(self.place.storage.place, self.place.layout.output)

    @property
    def bytes(self) -> int:
        """Of all files."""
        storage = self.place.storage
        found = (storage.find(self.find_name(file)) for file in self.files if not file.is_deleted)
        return sum(entry.size for entry in found if entry is not None)

    def find_name(self, file: LandedFile) -> str:
        """The file in the storage."""
        return f"{self.place.layout.output}/{file.name}"

    @property
    def twice(self) -> tuple[LandedFile, LandedFile] | None:
        """Two files that hold the same offsets."""
        pairs = pairwise(self.files)
        return next((pair for pair in pairs if pair[1].first <= pair[0].last), None)


@value_class
class Landing:
    """What was landed at a place: a stream, or those of all partitions of a topic."""

    streams: tuple[LandedStream, ...]
    is_topic: bool

    @property
    def files(self) -> int:
        """How many there are; what was deleted is not counted."""
        return sum(not file.is_deleted for each in self.streams for file in each.files)


def find_landing(place: Place, observation: Observation) -> Landing | None:
    """The landing that the place is, if it is one."""
    if files := list_landed_files(observation) or _list_unsynced(place, observation):
        return Landing(
            streams=(LandedStream(place=place, observation=observation, files=files),),
            is_topic=False,
        )
    if observation.ground is not Ground.FOREIGN or place.storage.local is None:
        return None
    try:
        names = list_partition_names(place.storage.list_names(place.layout.output))
    except (StorageError, OSError):
        return None
    return Landing(streams=tuple(_find_streams(place, names)), is_topic=True) if names else None


def _list_unsynced(place: Place, observation: Observation) -> tuple[LandedFile, ...]:
    """The files where names could not be made durable, of which nothing else was observed."""
    storage, layout = place.storage, place.layout
    if not observation.is_unsynced or storage.find(layout.config) is not None:
        return ()
    output = storage.find(layout.output)
    if output is None or not output.is_folder:
        return ()
    found = [find_landed(name) for name in storage.list_names(layout.output)]
    files = [file for file in found if file is not None]
    return tuple(keep_deleted(files)) if len(files) == len(found) else ()


def _find_streams(place: Place, names: Sequence[str]) -> Iterator[LandedStream]:
    for name in names:
        inner = locate_output(f"{place.path}/{name}")
        seen = observe_output(inner.storage, inner.layout)
        yield LandedStream(place=inner, observation=seen, files=list_landed_files(seen))


def list_landed_files(observation: Observation) -> tuple[LandedFile, ...]:
    """The files, in order, where the output holds nothing else and nothing was planned for it."""
    if observation.config is not None or observation.segments or observation.parts:
        return ()
    start = len(observation.layout.output) + 1
    odd = [finding for finding in observation.findings if finding.code is not Code.FOREIGN_FILE]
    found = [find_landed(finding.path[start:]) for finding in observation.findings]
    files = [file for file in found if file is not None]
    return tuple(keep_deleted(files)) if not odd and len(files) == len(found) else ()


def refuse_landing(place: Place, observation: Observation) -> None:
    """Raises `RefusedError` for a folder of landed items, of which no job recorded anything."""
    if find_landing(place, observation) is not None:
        raise RefusedError(
            f"{place.path} holds landed items for jobs to read: there is no dataset.",
            safe="Nothing was changed.",
            next=f"See what was landed: {place.command('diagnose')}",
        )


def describe_landing(place: Place, landing: Landing, plain: Diagnosis) -> Diagnosis:
    """What `plain`, the diagnosis of an output without a plan, is for a landing. Where names are to
    be made durable first, that is said of it as of any output."""
    if plain.state is State.RECOVERY_PENDING:
        return plain
    seen = [each.observation for each in landing.streams]
    twice = next((each.twice for each in landing.streams if each.twice is not None), None)
    verdict = decide_state(
        Facts(
            ground=Ground.OURS,
            is_locked=any(each.holder is not None for each in seen),
            damage=Damage.INCONSISTENT if twice else Damage.NONE,
            has_journal=False,
            is_complete=True,
            has_orphans=any(each.staging for each in seen),
        )
    )
    facts = LandingFacts(
        path=place.path,
        what=_tell_files(landing),
        twice=tuple(file.name for file in twice) if twice else (),
    )
    said = say(Kind.LANDING, verdict.state, facts)
    return replace(
        plain,
        state=verdict.state,
        action=verdict.action,
        exit_code=verdict.exit_code,
        reason=said.why,
        next=said.next,
        risky=said.risky,
        readers=f"{count_of(landing.files, 'file')}, each whole",
        hints=tuple(_tell_hints(landing)),
        next_run=NO_RUN,
        findings=(),
    )


def find_landed_faults(landing: Landing) -> Iterator[Finding]:
    """Reads all files; what is not as it was landed. Paths are as the user would write them."""
    for stream in landing.streams:
        if (twice := stream.twice) is not None:
            yield _find_changed(stream, twice[1], f"it holds offsets that {twice[0].name} has, too")
        for file in stream.files:
            try:
                read_whole(stream.folder, file)
            except (ValueError, StorageError) as error:
                yield _find_changed(stream, file, str(error).partition("\n")[0])


def _find_changed(stream: LandedStream, file: LandedFile, evidence: str) -> Finding:
    path = stream.place.show(stream.find_name(file))
    return Finding(code=Code.CHANGED_LANDED, path=path, evidence=evidence)


def _tell_files(landing: Landing) -> str:
    files = count_of(landing.files, "file")
    if landing.is_topic:
        return f"{files} of landed messages, of {count_of(len(landing.streams), 'partition')}"
    found = landing.streams[0].files
    return f"{files} of landed items, from offset {found[0].first} to {found[-1].last}"


def _tell_hints(landing: Landing) -> Iterator[str]:
    for stream in landing.streams:
        where = f"{stream.place.path}: " if landing.is_topic else ""
        yield from (where + told for told in _tell_gaps(stream.files))
        if deleted := [file for file in stream.files if file.is_deleted]:
            verb = "was" if len(deleted) == 1 else "were"
            yield (
                f"{where}{count_of(len(deleted), 'file')} up to offset {deleted[-1].last} "
                f"{verb} deleted when all that was made of them was complete"
            )


def _tell_gaps(files: Sequence[LandedFile]) -> Iterator[str]:
    gaps = [
        f"{before.last + 1} to {after.first - 1}"
        for before, after in pairwise(files)
        if after.first > before.last + 1
    ]
    if gaps:
        more = f" and {len(gaps) - _GAPS_SHOWN} more" if len(gaps) > _GAPS_SHOWN else ""
        told = ", ".join(gaps[:_GAPS_SHOWN]) + more
        yield f"no file holds the offsets {told}: the stream skipped them, or a file is gone"


_GAPS_SHOWN = 3
