"""What is known of a function: parts of its fingerprint, and how those of several are merged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from batten.model.disk.records import Fingerprint
from batten.model.value_class import value_class


@value_class
class FunctionDescription:
    """What the results of a function depend on. `name` is the function for people; `parts` maps
    names for people to short values or digests, `places` maps those of functions and classes to
    "features.py:12". What looks like a secret is hidden in `parts`. `parts_before` are the parts as
    batten 0.1 kept them, to be compared with what it wrote and never to be written. `secrets` are
    the names of the `batten.Secret`s that it uses."""

    name: str
    parts: dict[str, str]
    places: dict[str, str]
    parts_before: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = ()


def merge_descriptions(descriptions: Iterable[FunctionDescription]) -> FunctionDescription:
    """One description for the functions of all steps, in order. A part that an earlier step gave
    another value carries the step's number: two closures of one function are both seen."""
    known = list(descriptions)
    parts, placed = _merge([each.parts for each in known])
    places = {own: known[n].places[part] for own, n, part in placed if part in known[n].places}
    return FunctionDescription(
        name=", ".join(each.name for each in known),
        parts=parts,
        places=places,
        parts_before=_merge([each.parts_before for each in known])[0],
        secrets=tuple(dict.fromkeys(name for each in known for name in each.secrets)),
    )


def _merge(
    described: Sequence[Mapping[str, str]],
) -> tuple[dict[str, str], list[tuple[str, int, str]]]:
    """All parts. For each also its name there, the description that it is from, and its name in
    that description."""
    parts: dict[str, str] = {}
    placed = []
    for number, each in enumerate(described):
        for part, value in each.items():
            own = part if parts.get(part, value) == value else f"{part} (step {number + 1})"
            parts[own] = value
            placed.append((own, number, part))
    return parts, placed


def combine(parts: Mapping[str, str], places: Mapping[str, str]) -> Fingerprint:
    """The fingerprint of all parts; its digest does not depend on their order, nor on places."""
    canonical = json.dumps(sorted(parts.items()), separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(canonical).hexdigest()}"
    return Fingerprint(digest=digest, parts=dict(parts), places=dict(places))
