"""A chain of datasets for people: the last one, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterator

from batten.chain.walk import DatasetChain
from batten.cli.text import diagnosis_text
from batten.model.words import Action


def list_lines(chain: DatasetChain) -> Iterator[str]:
    """The lines of the last one, and then one for each that is upstream, the first one first."""
    yield from diagnosis_text.list_lines(chain.last)
    for each in chain.diagnoses[:-1]:
        needs = "" if each.action is Action.NOTHING else f"; next: {each.next}"
        told = f"{each.state.value}  {each.path}: {each.reason}{needs}"
        yield diagnosis_text.labelled("upstream", told)
