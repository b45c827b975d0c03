"""What differs between two fingerprints, told for people."""

from __future__ import annotations

from batten.model.disk.records import Fingerprint
from batten.model.telling.hiding import HIDDEN_PREFIX, is_secret_part

FINALIZED_FROM = "finalized from"
"""The part that names the first dataset of one that was finalized."""

DIGEST_PREFIX = "sha256:"
TABLE_PREFIX = "table "
"""How the parts of a fingerprint begin that are digests of whole tables."""


def find_tables(fingerprint: Fingerprint) -> dict[str, str]:
    """The digest of each whole table that went into it, by the table's name."""
    return {
        name.removeprefix(TABLE_PREFIX): value
        for name, value in fingerprint.parts.items()
        if name.startswith(TABLE_PREFIX) and value.startswith(DIGEST_PREFIX)
    }


def difference(old: Fingerprint, new: Fingerprint, *, like: Fingerprint | None = None) -> list[str]:
    """A line for each part that differs, in the order of the parts. It has both values, if they are
    short and no secrets: "function measure changed (features.py:12)", "parameter window: 5 → 7".
    `like` is the new one as it is kept, where `new` is in the form of an older batten: it says what
    is to be hidden."""
    lines = []
    kept = like if like is not None else new
    for name, value in new.parts.items():
        place = f" ({kept.places[name]})" if name in kept.places else ""
        if name not in old.parts:
            lines.append(f"{name} is new{place}")
        elif old.parts[name] != value:
            is_told = not kept.parts.get(name, "").startswith(HIDDEN_PREFIX) and not any(
                each.startswith((DIGEST_PREFIX, HIDDEN_PREFIX)) or is_secret_part(name, each)
                for each in (old.parts[name], value)
            )
            before = old.parts[name]
            lines.append(f"{name}: {before} → {value}" if is_told else f"{name} changed{place}")
    lines.extend(f"{name} is gone" for name in old.parts if name not in new.parts)
    return lines
