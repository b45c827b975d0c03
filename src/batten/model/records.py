"""What batten writes about a dataset, as values, and their JSON.

Every record ends with a checksum, and so says of any flipped bit that it is damaged. Every record
carries `format_version`; one that is newer than this batten is refused
(`NewerFormat`), one that is torn, lacks a field or has another type is `Unreadable`. Neither is
ever taken for a missing record.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Iterable
from dataclasses import field, fields
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from batten.model.journal import Operation
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION


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

    digest: str
    parts: dict[str, str]
    places: dict[str, str] = field(default_factory=dict)


@value_class
class Config:
    """`dataset.json`: what this dataset is. `sink` is the kind of its first destination, `next` the
    command that runs its job again, and `key_column` is empty where the items are the rows
    themselves."""

    fingerprint: Fingerprint
    batch_size: int
    key_column: str
    source: str
    sink: str
    parameters: dict[str, str]
    next: str
    created: str
    earlier_fingerprints: list[str]
    format_version: int = FORMAT_VERSION


@value_class
class Segment:
    """`plan/000000.json`: the items that one look at the source added to the plan.

    Its batches are numbered from `first_batch`; all hold `batch_size` items but the last. Items
    of a source without keys are the ordinals from `first_ordinal`, and there is no keys file.
    Otherwise `keys` holds `model.keys.describe_keys` of each batch, and `plan/000000.arrow` (of
    `keys_size` bytes and SHA-256 `keys_digest`) the keys themselves, a record batch a batch.
    `duplicates` counts all items of the source, over all segments so far, whose key came
    before. `is_limited` says that the source held more items than were planned.
    """

    number: int
    first_batch: int
    first_ordinal: int
    items: int
    batch_size: int
    is_keyed: bool
    duplicates: int
    duplicate_examples: list[str]
    is_limited: bool
    keys: list[str]
    keys_size: int
    keys_digest: str
    format_version: int = FORMAT_VERSION

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)


@value_class
class PartDescription:
    """What a part says of itself, in its Parquet footer under `PART_KEY`. Deterministic: no times,
    no run. `outcomes` is a text of `model.outcomes`, `keys` one of `model.keys`."""

    batch: int
    items: int
    rows: int
    outcomes: str
    keys: str
    fingerprint: str
    format_version: int = FORMAT_VERSION


PART_KEY = "batten.part"


@value_class
class PinnedSchema:
    """`schema.json`: the columns without the key: the Arrow IPC schema message in base64, and its
    fields for people."""

    ipc: str
    fields: list[str]
    format_version: int = FORMAT_VERSION


@value_class
class CommitRecord:
    """`commits/000042.json`: evidence that a batch was published. `size` in bytes and `digest`
    (SHA-256) are of the part; `quarantine_digest` is that of its quarantine file, or empty."""

    batch: int
    items: int
    rows: int
    outcomes: str
    keys: str
    fingerprint: str
    size: int
    digest: str
    quarantine_digest: str
    run: str
    time: str
    format_version: int = FORMAT_VERSION


@value_class
class Completion:
    """`COMPLETE`: the accounts, when they closed, and the size of every part in bytes."""

    source: int
    committed: int
    filtered: int
    quarantined: int
    duplicate: int
    rows: int
    segments: int
    part_sizes: list[int]
    run: str
    time: str
    format_version: int = FORMAT_VERSION


@value_class
class Delivery:
    """`deliveries/<kind>-<digest>.json`: what a destination has been given: the first `batches`
    batches, their `rows`; `content` stands for all of it. `target` names the destination, without
    secrets. Of a file it is written before the file takes its place: `size` in bytes and `digest`
    (SHA-256) are of the file that is to be there, `replaces` is the digest of the one before it, or
    empty. Of what is no file, these are 0 and empty."""

    kind: str
    target: str
    batches: int
    rows: int
    content: str
    size: int
    digest: str
    replaces: str
    run: str
    time: str
    format_version: int = FORMAT_VERSION

    @property
    def is_file(self) -> bool:
        return bool(self.digest)

    @property
    def keeps_rows(self) -> bool:
        """Whether it has rows that can't be told from others and taken out: a dataset that is
        computed anew can't be given to it."""
        return not self.is_file and self.batches > 0 and self.rows > 0


def find_kept(deliveries: Iterable[Delivery]) -> str:
    """The first destination that keeps its rows, for messages; empty where none does."""
    return next((delivery.target for delivery in deliveries if delivery.keeps_rows), "")


@value_class
class Replacing:
    """`REPLACING`: the journal of a replacement. The dataset in `fresh/` is complete, and what
    must be done is decided: the data folders are exchanged, then these `entries` of the control
    folder."""

    entries: list[str]
    run: str
    time: str
    format_version: int = FORMAT_VERSION


@value_class
class Holder:
    """The text of a lock: who holds it. `since` is UTC, `boot` the kernel's boot id, and
    `pid_namespace` that in which `pid` counts (containers have their own)."""

    pid: int
    host: str
    since: str
    boot: str
    pid_namespace: str = ""


class AnyRecord(Protocol):
    """A dataclass whose fields are texts, numbers, booleans, and lists and dicts of these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Record = TypeVar("Record", bound=AnyRecord)


def encode_record(record: Record) -> bytes:
    """One JSON object, keys in the order of the fields: the same value gives the same bytes. Last
    comes `checksum`: the start of the SHA-256, in hexadecimal, of the object without it."""
    # Names of files need not be UTF-8; `json.loads` takes them back in the same way.
    text = json.dumps(vars(record), ensure_ascii=False, default=vars)
    return seal_record(text.encode(errors="surrogatepass"))


def seal_record(body: bytes) -> bytes:
    """An object in JSON with its checksum, the inverse of `open_record`."""
    return body[:-1] + _end_of(body)


def decode_record(kind: type[Record], data: bytes) -> Record:
    """The record in `data`; raises `Unreadable`, or `NewerFormat` for one of a newer batten."""
    record: Record = _build(kind, _parse(open_record(data)))
    return record


_BEFORE_CHECKSUM = b', "checksum": "'
_CHECKSUM_CHARACTERS = 16
_AFTER_CHECKSUM = b'"}\n'
_END_SIZE = len(_BEFORE_CHECKSUM) + _CHECKSUM_CHARACTERS + len(_AFTER_CHECKSUM)


def open_record(data: bytes) -> bytes:
    """The object without its checksum, which was right; raises `Unreadable`, or `NewerFormat`."""
    body = data[:-_END_SIZE] + b"}"
    end = data[-_END_SIZE:]
    if end == _end_of(body):
        return body
    # A newer version may have another checksum, or none.
    _refuse_newer(_parse(data))
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
        # Left to itself, it would first find out which UTF these are.
        return json.loads(data.decode(errors="surrogatepass"))
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}" if data.strip() else "empty") from error
    except RecursionError as error:
        raise Unreadable("not a record: it is nested too deeply") from error


def _refuse_newer(value: object) -> None:
    version = _as_object(value).get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerFormat(f"format version {version}; this batten reads up to {FORMAT_VERSION}")


def _build(kind: type[Any], value: object) -> Any:
    found = _as_object(value)
    _refuse_newer(found)
    known = {}
    for name, hint in _hints(kind):
        if name not in found:
            raise Unreadable(f"the field {name!r} is missing")
        item = found[name]
        known[name] = item if type(item) is hint else _read(hint, item, name)
    return kind(**known)


def _read(hint: Any, item: object, name: str) -> object:
    """The value of a field: a plain one as it is, a record in a record or in a list built."""
    if hint is Fingerprint:
        return _build(Fingerprint, item)
    if hint == list[Operation]:
        if isinstance(item, list):
            return [_build(Operation, each) for each in item]
    elif _fits(hint, item):
        return item
    raise Unreadable(f"the field {name!r} is {json.dumps(item)[:40]}")


_cached_hints: dict[type[Any], list[tuple[str, Any]]] = {}


def _hints(kind: type[Any]) -> list[tuple[str, Any]]:
    if kind not in _cached_hints:
        hints = get_type_hints(kind)
        _cached_hints[kind] = [(each.name, hints[each.name]) for each in fields(kind)]
    return _cached_hints[kind]


def _as_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"not an object but {json.dumps(value)[:40]}")
    return value


def _fits(hint: Any, value: object) -> bool:
    if isinstance(hint, types.GenericAlias):
        inner = get_args(hint)[-1]
        if get_origin(hint) is dict:
            return isinstance(value, dict) and all(type(item) is inner for item in value.values())
        return isinstance(value, list) and all(type(item) is inner for item in value)
    return type(value) is hint
