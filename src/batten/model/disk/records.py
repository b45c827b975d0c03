"""What batten writes about a dataset, as values, and their JSON.

Every record ends with a checksum, and so says of any flipped bit that it is damaged. Every record
carries `format_version`; one that is newer than this batten is refused
(`NewerFormat`), one that is torn, lacks a field or has another type is `Unreadable`. Neither is
ever taken for a missing record.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import field
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from batten.model.disk.bounds import (
    BATCHES_MAX,
    MEBIBYTE,
    RECORD_BYTES_MAX,
    Bytes,
    Count,
    Damaged,
    Digests,
    GenerationName,
    Hexadecimal,
    KeysDescription,
    Many,
    MaybeHexadecimal,
    Name,
    Number,
    Outcomes,
    PathWithin,
    Piece,
    Position,
    Prose,
    TargetText,
    Text,
    Version,
    build,
    show,
)
from batten.model.disk.items.slowest import SLOWEST_PATTERN
from batten.model.disk.runs.job_calls import UNKNOWN_CALL, JobCall, read_old_command
from batten.model.json_text import parse_json
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import (
    FORMAT_OF_OUTCOMES,
    FORMAT_OF_VALUES,
    FORMAT_TAKING_OVER,
    FORMAT_VERSION,
)


class Unreadable(ValueError):
    """A record that cannot be understood; the text says why."""


class NewerFormat(Unreadable):
    """A record that a newer batten wrote."""


@value_class
class Fingerprint:
    """What changes results: a digest of all, and of each part by its name for people
    ("function measure", "parameter window", "batch size"), so that a refusal can say what differs.

    `parts` maps such a name to a digest or a short value. `places` maps names of functions to
    where they are ("features.py:12"); it is for messages and not part of the digest.
    """

    digest: Name
    parts: Annotated[dict[str, Prose], Many(100_000)]
    places: Annotated[dict[str, Prose], Many(100_000)] = field(default_factory=dict)


@value_class
class Config:
    """`dataset.json`: what this dataset is. `sink` is the kind of its first destination. `target`
    is where that lies; it is empty for a folder of parts, and in records of 0.1. `job` is how its
    job was started last. `key_column` is empty if the items are the rows themselves. `next` is for
    batten 0.1, which shows it. Here it is used if `job` is missing. `takes_over`: the rows of the
    dataset that this digest stands for become rows of this one, which is to take its place.
    `drops_gone`: rows of what the source no longer has are to go."""

    fingerprint: Fingerprint
    batch_size: Annotated[int, Number(1, BATCHES_MAX)]
    key_column: Name
    source: Prose
    sink: Name
    parameters: Annotated[dict[str, Prose], Many(10_000)]
    next: Prose
    created: Name
    earlier_fingerprints: Annotated[list[Name], Many(100_000)]
    job: JobCall = field(default=UNKNOWN_CALL)
    target: TargetText = ""
    takes_over: Name = ""
    drops_gone: bool = False
    format_version: Version = FORMAT_VERSION

    newest_format: ClassVar[int] = FORMAT_TAKING_OVER
    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["config"]

    @property
    def call(self) -> JobCall:
        """How the job was started, as far as the record tells."""
        return read_old_command(self.next) if self.job == UNKNOWN_CALL else self.job


def name_dataset(config: Config | None) -> str:
    """Tells it from any other that was or will be in its place, also by other code."""
    return "" if config is None else f"{config.created} {config.fingerprint.digest}"


@value_class
class Segment:
    """`plan/000000.json`: the items that one look at the source added to the plan.

    `format_version` is `FORMAT_OF_VALUES` where the keys file has a column of items as plain bytes.

    Its batches are numbered from `first_batch`; all hold `batch_size` items but the last. Items
    of a source without keys are the ordinals from `first_ordinal`, and there is no keys file.
    Otherwise `keys` holds `model.keys.describe_keys` of each batch, and `plan/000000.arrow` (of
    `keys_size` bytes and SHA-256 `keys_digest`) the keys themselves, a record batch a batch.
    `duplicates` counts all items of the source, over all segments so far, whose key came
    before. `is_limited` says that the source held more items than were planned.
    """

    number: Position
    first_batch: Position
    first_ordinal: Count
    items: Count
    batch_size: Annotated[int, Number(1, BATCHES_MAX)]
    is_keyed: bool
    duplicates: Count
    duplicate_examples: Annotated[list[Prose], Many(1000)]
    is_limited: bool
    keys: Annotated[list[KeysDescription], Many(BATCHES_MAX)]
    keys_size: Bytes
    keys_digest: MaybeHexadecimal
    format_version: Version = FORMAT_VERSION

    newest_format: ClassVar[int] = FORMAT_OF_VALUES
    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["segment"]

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)

    def find_fault(self) -> str:
        """In which way its fields don't fit each other."""
        if self.batches > BATCHES_MAX:
            return f"it says that it has {self.batches} batches"
        if bool(self.keys_size) is not bool(self.keys_digest):
            return "the size and the digest of its keys don't fit each other"
        if len(self.keys) != (self.batches if self.is_keyed else 0):
            return f"it describes the keys of {len(self.keys)} of {self.batches} batches"
        if self.is_keyed and self.items and not self.keys_size:
            return "it has no file of its keys"
        return ""


@value_class
class PartDescription:
    """What a part says of itself, in its Parquet footer under `PART_KEY`. Deterministic: no times,
    no run. `outcomes` is a text of `model.outcomes`, `keys` one of `model.keys`. It was made of the
    versions of its items that the plan had up to this `revision`. `widens`: it is a part of before
    with columns added, and before that another; their digests, the first one
    first, with commas."""

    batch: Position
    items: Count
    rows: Count
    outcomes: Outcomes
    keys: KeysDescription
    fingerprint: Name
    revision: Count = 0
    widens: Digests = ""
    format_version: Version = FORMAT_VERSION

    newest_format: ClassVar[int] = FORMAT_OF_OUTCOMES


PART_KEY = "batten.part"


@value_class
class PinnedSchema:
    """`schema.json`: the columns without the key: the Arrow IPC schema message in base64, and its
    fields for people. `added` are the names of those that came later: where older rows have nulls.
    """

    ipc: Annotated[str, Text(48 * MEBIBYTE)]
    fields: Annotated[list[Prose], Many(100_000)]
    added: Annotated[list[Prose], Many(100_000)] = field(default_factory=list)
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["schema"]


@value_class
class CommitRecord:
    """`commits/000042.json`: evidence that a batch was published. `size` in bytes and `digest`
    (SHA-256) are of the part; `quarantine_digest` is that of its quarantine file, or empty.
    `revision` and `widens` as in the part. `slowest` tells of its slowest items."""

    batch: Position
    items: Count
    rows: Count
    outcomes: Outcomes
    keys: KeysDescription
    fingerprint: Name
    size: Bytes
    digest: Hexadecimal
    quarantine_digest: MaybeHexadecimal
    run: Name
    time: Name
    revision: Count = 0
    widens: Digests = ""
    slowest: Annotated[str, Text(512, SLOWEST_PATTERN)] = ""
    format_version: Version = FORMAT_VERSION

    newest_format: ClassVar[int] = FORMAT_OF_OUTCOMES
    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["commit"]


@value_class
class Completion:
    """`COMPLETE`: the accounts, when they closed, and the size of every part in bytes.
    `destinations` are the kinds of those that had all of it, by their target; records of 0.1 name
    none. `removed` items are not in the source any more, nor counted as of it; `adopted` are those
    of `committed` whose rows a hand-made job had made. `usage` is what all calls used, as texts
    (`model.rules.usage`)."""

    source: Count
    committed: Count
    filtered: Count
    quarantined: Count
    duplicate: Count
    rows: Count
    segments: Position
    part_sizes: Annotated[list[Bytes], Many(BATCHES_MAX)]
    run: Name
    time: Name
    destinations: Annotated[dict[str, Name], Many(1000)] = field(default_factory=dict)
    removed: Count = 0
    adopted: Count = 0
    usage: Annotated[dict[str, Name], Many(10_000)] = field(default_factory=dict)
    format_version: Version = FORMAT_VERSION

    newest_format: ClassVar[int] = FORMAT_OF_OUTCOMES
    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["completion"]


Entry = Annotated[
    str,
    Text(
        255,
        r"(?!(\.{1,2}|lock|fresh|REPLACING|staging|set-aside|parts|deliveries|files|workers)\Z)"
        r"[^/\0]+",
    ),
]
"""A name in the control folder that is the dataset's, and not of the place."""


@value_class
class Replacing:
    """`REPLACING`: the journal of a replacement. The dataset in `fresh/` is complete, and what
    must be done is decided: the data folders are exchanged, then these `entries` of the control
    folder."""

    entries: Annotated[list[Entry], Many(1000)]
    run: Piece
    time: Name
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["replacing"]


@value_class
class Unsynced:
    """`UNSYNCED`: names, relative to the storage, of which a sync failed. They are made anew before
    anything else is done."""

    names: Annotated[list[PathWithin], Many(1_000_000)]
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["unsynced"]


@value_class
class Generations:
    """`CURRENT`, in a store: which generation of an output is read, and which one is being made to
    take its place, or none. `is_swept` where no other is left, `is_first_gone` where what lies in
    the place of the first one is of others. `nonce` tells this from all others."""

    current: GenerationName
    next: GenerationName
    is_swept: bool
    nonce: Name
    is_first_gone: bool = False
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["generations"]


def version_for(later: int | bool) -> int:
    """The format version of a record of a batch or dataset with so many items of outcomes that
    batten 0.1 doesn't know."""
    return FORMAT_OF_OUTCOMES if later else FORMAT_VERSION


class AnyRecord(Protocol):
    """A dataclass whose fields are texts, numbers, booleans, and lists and dicts of these. A kind
    of which there is more than one version names the newest as `newest_format`,
    and one that has a file of its own says as `bytes_max` how large that can be."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Record = TypeVar("Record", bound=AnyRecord)


def encode_record(record: Record) -> bytes:
    """One JSON object, keys in the order of the fields: the same value gives the same bytes. Last
    comes `checksum`: the start of the SHA-256, in hexadecimal, of the object without it (decision
    0012)."""
    # Names of files need not be UTF-8; `json.loads` takes them back in the same way.
    text = json.dumps(vars(record), ensure_ascii=False, default=vars)
    return seal_record(text.encode(errors="surrogatepass"))


def seal_record(body: bytes) -> bytes:
    """An object in JSON with its checksum, the inverse of `open_record`."""
    return body[:-1] + _end_of(body)


def decode_record(kind: type[Record], data: bytes) -> Record:
    """The record in `data`; raises `Unreadable`, or `NewerFormat` for one of a newer batten."""
    refuse_large(kind, data)
    newest = getattr(kind, "newest_format", FORMAT_VERSION)
    found = _parse(open_record(data, newest))
    _refuse_newer(found, newest)
    try:
        record: Record = build(kind, found)
    except Damaged as error:
        raise Unreadable(str(error)) from error
    return record


def refuse_large(kind: type[AnyRecord], data: bytes) -> None:
    """Raises `Unreadable` for more than any record of that kind has: it is not even parsed."""
    if len(data) > getattr(kind, "bytes_max", len(data)):
        raise Unreadable(f"it has {count_of(len(data), 'byte')}, more than any file of its kind")


_BEFORE_CHECKSUM = b', "checksum": "'
_CHECKSUM_CHARACTERS = 16
_AFTER_CHECKSUM = b'"}\n'
_END_SIZE = len(_BEFORE_CHECKSUM) + _CHECKSUM_CHARACTERS + len(_AFTER_CHECKSUM)


def open_record(data: bytes, newest: int = FORMAT_VERSION) -> bytes:
    """The object without its checksum, which was right; raises `Unreadable`, or `NewerFormat`."""
    body = data[:-_END_SIZE] + b"}"
    end = data[-_END_SIZE:]
    if end == _end_of(body):
        return body
    # A newer version may have another checksum, or none.
    _refuse_newer(_parse(data), newest)
    is_there = end.startswith(_BEFORE_CHECKSUM) and end.endswith(_AFTER_CHECKSUM)
    raise Unreadable(
        "its checksum does not fit: it was damaged, or changed by hand"
        if is_there
        else "its checksum is missing"
    )


def _end_of(body: bytes) -> bytes:
    checksum = hashlib.sha256(body).hexdigest()[:_CHECKSUM_CHARACTERS]
    return b"%b%b%b" % (_BEFORE_CHECKSUM, checksum.encode(), _AFTER_CHECKSUM)


def _parse(data: bytes) -> object:
    try:
        return parse_json(data.decode(errors="surrogatepass"))
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}" if data.strip() else "empty") from error


def _refuse_newer(value: object, newest: int) -> None:
    version = _as_object(value).get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > newest:
        raise NewerFormat(f"format version {version}; this batten reads up to {newest}")


def _as_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"not an object but {show(value)}")
    return value
