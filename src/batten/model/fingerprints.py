"""What differs between two fingerprints, told for people."""

from __future__ import annotations

from batten.model.records import Fingerprint

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


def difference(old: Fingerprint, new: Fingerprint) -> list[str]:
    """A line for each part that differs, with its two values where they are short, in the order of
    the parts: "function measure changed (features.py:12)", "parameter window: 5 → 7"."""
    lines = []
    for name, value in new.parts.items():
        place = f" ({new.places[name]})" if name in new.places else ""
        if name not in old.parts:
            lines.append(f"{name} is new{place}")
        elif old.parts[name] != value:
            before = old.parts[name]
            is_digest = before.startswith(DIGEST_PREFIX) or value.startswith(DIGEST_PREFIX)
            lines.append(f"{name} changed{place}" if is_digest else f"{name}: {before} → {value}")
    lines.extend(f"{name} is gone" for name in old.parts if name not in new.parts)
    return lines
