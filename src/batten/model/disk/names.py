"""Names on disk, made and read in one place. All are relative to the folder that holds the output.

features/part-000042.parquet
features.batten/dataset.json
features.batten/schema.json
features.batten/plan/000000.json, plan/000000.arrow, plan/000000.digests, plan/000000.versions,
    plan/000000.values
features.batten/plan/upstream.json                        of a dataset that is the source
features.batten/staging/<what>.<host>-<pid>-<random>
features.batten/staged/000042-000000-000250-<digest>.arrow     a finished chunk
features.batten/staged/000042-000000-000250-<some>-<digest>.arrow     one that lacks some items
features.batten/staged/000042-sealed-<digest>.parquet          a sealed batch
features.batten/staged/000042-quarantine-<digest>.parquet      its quarantined items
features.batten/quarantine/000042.parquet
features.batten/commits/000042.json
features.batten/recompute/000042.json
features.batten/set-aside/<time>-<name>
features.batten/runs/<time>-<id>.jsonl, runs/<time>-<id>.inflight, runs/<time>-<id>.usage
features.batten/submissions/<token>.json                  requests that a vendor has in a batch
features.batten/submissions/<token>.answers               what it answered
features.batten/fresh/features, fresh/features.batten     what is being made to replace it
    features.batten/REPLACING                                 the journal of that
    features.batten/UNSYNCED                                  names that could not be made durable
    features.batten/COMPLETE
features.batten/parts/part-000042.parquet                 where the output is not a folder of parts
features.batten/deliveries/<kind>-<digest>.json           what a destination has been given
thumbs.batten/made/000042-<digest>                        a file of an item that has no place yet
thumbs.batten/files/000042.json                           which files of a batch have places
features.batten/rolled/000042-<digest>.jsonl              in a store: a thousand records in one
features.batten/CURRENT                                   in a store: which generation counts
features.batten/generations/<name>/features, features.batten      one that is not the first
features.batten/RESULT.parquet                            what a function of whole tables made
features.batten/workers/board.json, workers/<worker>.json     of workers on other machines
features.batten/lock

and beside a tree that is changed by transactions:

notes.batten/tree/lock
notes.batten/tree/JOURNAL                                 of the change that is under way
notes.batten/tree/UNSYNCED                                as beside a dataset
notes.batten/tree/staging/<change>.<number>               its files and backups
notes.batten/tree/tokens/<digest>.json                    the journal of each change with a token
notes.batten/tree/set-aside/<name>
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from batten.model.disk.staged_names import DIGEST_CHARACTERS, NUMBER, StagedChunk
from batten.model.patterns import pattern

CONTROL_SUFFIX = ".batten"
UNSYNCED = "UNSYNCED"
"""The record, beside a lock, of names that could not be made durable."""
FIRST_GENERATION = "first"
"""What the dataset is called in `CURRENT` that lies where the output is."""

_VERSIONS_AT_A_TIME = 4096

PART = pattern(rf"part-{NUMBER}\.parquet", re.ASCII)
NUMBERED = pattern(rf"{NUMBER}\.(json|parquet|arrow|digests|versions|values)", re.ASCII)
_DESCRIBED = pattern(rf"{NUMBER}-[0-9a-f]{{32}}\.(jsonl?|parquet|arrow|versions|values)", re.ASCII)
DELIVERY = pattern(r"[a-z]+-[0-9a-f]{12}\.json", re.ASCII)
_SUBMISSION = pattern(r"([0-9a-f]{24})\.json", re.ASCII)
_MADE = pattern(rf"{NUMBER}-([0-9a-f]{{32}})", re.ASCII)

_IN_FLIGHT = pattern(r"\d{8}T\d{6}(\.\d+)?Z-[0-9a-f]+\.inflight", re.ASCII)
_USAGE = pattern(r"\d{8}T\d{6}(\.\d+)?Z-[0-9a-f]+(\.\d+-\d{9,})?\.usage", re.ASCII)

FOLDER_NAMES = frozenset(
    {"plan", "staging", "staged", "quarantine", "commits", "recompute", "set-aside", "runs"}
    | {"fresh", "deliveries", "parts", "tree", "made", "files", "generations", "submissions"}
    | {"workers", "rolled"}
)
"""What in a control folder is a folder."""
FILE_NAMES = frozenset({"dataset.json", "schema.json", "COMPLETE", "REPLACING", "CURRENT", "lock"})
"""What in a control folder is a file."""


@dataclass(frozen=True)
class Layout:
    """Where everything of one output lies. `output` is its name in the folder that holds it;
    `is_inside` says that the parts lie in the control folder, since the output is something else:
    a file, a table. `is_shared`: no lock keeps others from writing there; see `model.rules.guards`.
    Then what describes something else bears in its name a part of what it is `of`. There, a dataset
    that took the place of another is a generation of the output: then `home` is the name of that.
    `next` is the generation that is being made."""

    output: str
    is_inside: bool = False
    is_shared: bool = False
    home: str = ""
    next: str = ""

    @cached_property
    def control(self) -> str:
        return self.output + CONTROL_SUFFIX

    @cached_property
    def data(self) -> str:
        """The folder of the parts."""
        return f"{self.control}/parts" if self.is_inside else self.output

    @property
    def deliveries(self) -> str:
        return f"{self.control}/deliveries"

    @property
    def made(self) -> str:
        """The folder of files of items that have no place yet."""
        return f"{self.control}/made"

    @property
    def files(self) -> str:
        """The folder of records of files that have places."""
        return f"{self.control}/files"

    @property
    def result(self) -> str:
        """What a function of whole tables made, until all destinations have it."""
        return f"{self.control}/RESULT.parquet"

    @property
    def config(self) -> str:
        return f"{self.control}/dataset.json"

    @property
    def schema(self) -> str:
        return f"{self.control}/schema.json"

    @property
    def plan(self) -> str:
        return f"{self.control}/plan"

    @property
    def staging(self) -> str:
        return f"{self.control}/staging"

    @property
    def staged(self) -> str:
        return f"{self.control}/staged"

    @property
    def quarantine(self) -> str:
        return f"{self.control}/quarantine"

    @cached_property
    def commits(self) -> str:
        return f"{self.control}/commits"

    @property
    def rolled(self) -> str:
        """The folder of roll-ups: see `model.disk.rolled`."""
        return f"{self.control}/rolled"

    @property
    def recompute(self) -> str:
        return f"{self.control}/recompute"

    @property
    def set_aside(self) -> str:
        return f"{self.control}/set-aside"

    @property
    def runs(self) -> str:
        return f"{self.control}/runs"

    @property
    def submissions(self) -> str:
        """The folder of requests that a vendor has in batches."""
        return f"{self.control}/submissions"

    def submission(self, token: str) -> str:
        return f"{self.submissions}/{token}.json"

    def submission_answers(self, token: str) -> str:
        return f"{self.submissions}/{token}.answers"

    @property
    def complete(self) -> str:
        return f"{self.control}/COMPLETE"

    def complete_of(
        self, segments: int, versions: Iterable[str], revised: Mapping[str, str]
    ) -> str:
        """The name of what says that a plan of so many segments and parts of these versions, by
        batch, are all there is to do. `revised` are the versions of what the plan says of items
        that may change, by name."""
        if not self.is_shared:
            return self.complete
        told = "".join(f" {name} {version}" for name, version in sorted(revised.items()))
        return f"{self.complete}-{_digest_of(f'{segments}{told}', versions)}"

    def _tell(self, of: str) -> str:
        if not (self.is_shared and of):
            return ""
        return "-" + hashlib.sha256(of.encode()).hexdigest()[:DIGEST_CHARACTERS]

    @property
    def _home_control(self) -> str:
        return (self.home or self.output) + CONTROL_SUFFIX

    @property
    def current(self) -> str:
        """Says which generation counts."""
        return f"{self._home_control}/CURRENT"

    @property
    def generations(self) -> str:
        """The folder of all generations but the first."""
        return f"{self._home_control}/generations"

    @property
    def generation(self) -> str:
        return self.output.split("/")[-2] if self.home else FIRST_GENERATION

    def of_generation(self, name: str) -> Layout:
        home = self.home or self.output
        if name == FIRST_GENERATION:
            return replace(self, output=home, home="", next="")
        return replace(self, output=f"{self.generations}/{name}/{home}", home=home, next="")

    @property
    def fresh(self) -> Layout:
        """The dataset that is being made to replace this one."""
        if self.next:
            return self.of_generation(self.next)
        name = self.output.rpartition("/")[2]
        return replace(self, output=f"{self.control}/fresh/{name}")

    @property
    def outer(self) -> Layout | None:
        """The dataset that this one is to replace; None if this is no `fresh` one."""
        output = find_replaced(self.output, "/fresh/")
        return None if output is None else replace(self, output=output)

    @property
    def fresh_folder(self) -> str:
        if self.next:
            return f"{self.generations}/{self.next}"
        return f"{self.control}/fresh"

    @property
    def replaced_folder(self) -> str:
        return f"{self.control}/fresh/replaced"

    @property
    def replacing(self) -> str:
        return f"{self.control}/REPLACING"

    @property
    def unsynced(self) -> str:
        return f"{self.control}/{UNSYNCED}"

    @property
    def lock(self) -> str:
        return f"{self._home_control}/lock"

    @property
    def workers(self) -> str:
        """Where a run and its workers on other machines meet."""
        return f"{self._home_control}/workers"

    def part(self, batch: int) -> str:
        return f"{self.data}/part-{batch:06}.parquet"

    def commit(self, batch: int, of: str = "") -> str:
        """`of` is the version of the part."""
        return f"{self.commits}/{batch:06}{self._tell(of)}.json"

    def rolled_up(self, number: int, versions: Iterable[str]) -> str:
        """`versions` are those of its parts, in order."""
        return f"{self.rolled}/{number:06}-{_digest_of(str(number), versions)}.jsonl"

    def quarantined(self, batch: int, of: str = "") -> str:
        """`of` is the digest of the part."""
        return f"{self.quarantine}/{batch:06}{self._tell(of)}.parquet"

    def recomputed(self, batch: int) -> str:
        return f"{self.recompute}/{batch:06}.json"

    def segment(self, number: int) -> str:
        return f"{self.plan}/{number:06}.json"

    def segment_keys(self, number: int, of: str = "") -> str:
        """`of` is the digest of its bytes."""
        return f"{self.plan}/{number:06}{self._tell(of)}.arrow"

    def segment_digests(self, number: int) -> str:
        return f"{self.plan}/{number:06}.digests"

    @property
    def upstream(self) -> str:
        """What was seen of the dataset that is the source."""
        return f"{self.plan}/upstream.json"

    def segment_values(self, number: int, of: str = "") -> str:
        """`of` is the digest of its keys."""
        return f"{self.plan}/{number:06}{self._tell(of)}.values"

    def segment_versions(self, number: int, of: str = "") -> str:
        """`of` is the digest of its keys."""
        return f"{self.plan}/{number:06}{self._tell(of)}.versions"

    def staged_chunk(self, chunk: StagedChunk) -> str:
        some = "" if chunk.some is None else f"-{chunk.some:x}"
        span = f"{chunk.batch:06}-{chunk.start:06}-{chunk.stop:06}"
        return f"{self.staged}/{span}{some}-{chunk.digest}.arrow"

    def staged_file(self, batch: int, kind: str, digest: str) -> str:
        return f"{self.staged}/{batch:06}-{kind}-{digest[:DIGEST_CHARACTERS]}.parquet"

    def made_file(self, batch: int, digest: str) -> str:
        return f"{self.made}/{batch:06}-{digest}"

    def placed(self, batch: int) -> str:
        return f"{self.files}/{batch:06}.json"

    def delivery(self, name: str) -> str:
        return f"{self.deliveries}/{name}.json"

    def run_log(self, run: str) -> str:
        return f"{self.runs}/{run}.jsonl"

    def in_flight(self, run: str) -> str:
        return f"{self.runs}/{run}.inflight"

    def usage(self, run: str, piece: str = "") -> str:
        """What calls of that run used. Where nothing can be added to a file, it is in pieces."""
        return f"{self.runs}/{run}{piece}.usage"


def _digest_of(what: str, versions: Iterable[str]) -> str:
    digest = hashlib.sha256(what.encode())
    # Of a million parts the text of all versions would be held several times.
    left = iter(versions)
    while some := list(islice(left, _VERSIONS_AT_A_TIME)):
        digest.update("".join([f"\n{each}" for each in some]).encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def find_part(name: str) -> int | None:
    """The batch that a file of the data folder is the part of, or None."""
    match = PART.fullmatch(name)
    return int(match[1]) if match else None


def find_number(name: str, suffix: str) -> int | None:
    """The number of `000042.json` and its like, or None."""
    match = NUMBERED.fullmatch(name)
    return int(match[1]) if match and match[2] == suffix else None


def find_described(name: str, suffix: str) -> int | None:
    """The number of `000042-<digest>.json` and its like, or None."""
    match = _DESCRIBED.fullmatch(name)
    return int(match[1]) if match and match[2] == suffix else None


def is_in_flight(name: str) -> bool:
    """Whether it is the name of the marks of a run's items in hand."""
    return _IN_FLIGHT.fullmatch(name) is not None


def is_usage(name: str) -> bool:
    """Whether it is the name of what calls of a run used."""
    return _USAGE.fullmatch(name) is not None


def find_submission(name: str) -> str | None:
    """The token of the record of requests that a vendor has, or None for another name."""
    match = _SUBMISSION.fullmatch(name)
    return match[1] if match else None


def is_delivery(name: str) -> bool:
    """Whether it is the name of the record of what a destination has been given."""
    return DELIVERY.fullmatch(name) is not None


def find_made(name: str) -> int | None:
    """The batch of a file in `made/`, or None for another name."""
    match = _MADE.fullmatch(name)
    return int(match[1]) if match else None


def find_replaced(output: str, *folders: str) -> str | None:
    """The output in whose place a dataset was to come that was made in one of these folders beside
    it; None if it was made in none."""
    for folder in folders or ("/fresh/", "/generations/"):
        control, found, _ = output.rpartition(folder)
        if found and control.endswith(CONTROL_SUFFIX):
            return control.removesuffix(CONTROL_SUFFIX)
    return None
