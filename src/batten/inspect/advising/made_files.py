"""What an inspection says of files that are made of an output's parts.

An output may be such a file itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation, find_own_file
from batten.model.disk.destinations.delivery import CAN_NOT_BE_ASKED, Delivery
from batten.model.disk.fingerprints import find_tables


def list_tables(observation: Observation) -> tuple[str, ...]:
    """The names of the tables that the output is made of, where it is one of whole tables."""
    config = observation.config
    return tuple(find_tables(config.fingerprint)) if config is not None else ()


def list_held(place: Place, observation: Observation) -> Iterator[Delivery]:
    """What each destination has, as recorded; a file that is not in its place has nothing."""
    for each in observation.deliveries:
        if not each.is_file:
            yield each
        elif _is_in_place(observation, each):
            yield replace(each, target=place.show(each.target))
        else:
            yield replace(each, target=place.show(each.target), batches=0, rows=0)


def list_unseen(place: Place, observation: Observation) -> Iterator[tuple[str, str]]:
    """Destinations of which nobody knows now that they have what they were given, by target, and
    why. Files are there or not, unless they can't be looked at."""
    unseen = observation.unseen
    findings = {each.path: each for each in observation.findings}
    for each in observation.deliveries:
        finding = findings.get(each.target)
        if not each.batches:
            continue
        if not each.can_be_asked:
            yield each.target, CAN_NOT_BE_ASKED
        elif each.target in unseen:
            yield place.show(each.target) if each.is_file else each.target, unseen[each.target]
        elif each.is_file:
            continue
        elif not each.is_here:
            yield each.target, "not asked"
        elif observation.holder is not None:
            yield each.target, "not looked at while a run is at work"
        elif finding is not None:
            yield each.target, "it does not have all of it"


def find_unmade(place: Place, observation: Observation) -> str:
    """The file which the output is, where it has not been made of this dataset; empty where it has,
    or the output is no file."""
    own = find_own_file(observation.layout, observation.config)
    is_made = own is None or any(
        each.target == own and each.batches and _is_in_place(observation, each)
        for each in observation.deliveries
    )
    return "" if own is None or is_made else place.show(own)


def find_linked_file(place: Place, observation: Observation) -> str:
    """Where the output leads to, if it is a file and a link lies in its place; else empty."""
    path = f"{place.storage.place}/{place.layout.output}"
    is_file = find_own_file(observation.layout, observation.config) is not None
    return os.path.realpath(path) if is_file and os.path.islink(path) else ""


def _is_in_place(observation: Observation, delivery: Delivery) -> bool:
    target = delivery.target
    return observation.placed.get(target) == delivery.size or target in observation.unseen
