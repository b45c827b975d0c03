"""A chain of datasets for people: the last one, what it was made of, and whether they close."""

from __future__ import annotations

from collections.abc import Iterator

from batten.chain.verifying import ChainLink, ChainVerification
from batten.chain.walk import DatasetChain
from batten.cli.text import diagnosis_text, verification_text
from batten.cli.text.diagnosis_text import labelled
from batten.model.telling.counts import count_of
from batten.model.words import Action

_KEYS_SHOWN = 3


def list_lines(chain: DatasetChain) -> Iterator[str]:
    """The lines of the last one, and then one for each that is upstream, the first one first."""
    yield from diagnosis_text.list_lines(chain.last)
    for each in chain.diagnoses[:-1]:
        needs = "" if each.action is Action.NOTHING else f"; next: {each.next}"
        told = f"{each.state.value}  {each.path}: {each.reason}{needs}"
        yield labelled("upstream", told)


def list_verified_lines(chain: ChainVerification) -> Iterator[str]:
    """Each dataset from the first on, and how it closes with the one before."""
    for number, each in enumerate(chain.verifications):
        if number:
            yield labelled("closes", _tell_link(chain.links[number - 1]))
        yield from verification_text.list_lines(each)
    inputs = chain.inputs
    if told := inputs.behind.reason if inputs.behind is not None else inputs.unknown:
        yield labelled("inputs", f"{chain.verifications[0].diagnosis.path}: {told}")
    yield f"{chain.status.upper()}  the whole chain"
    yield labelled("next", chain.next)


def _tell_link(link: ChainLink) -> str:
    if link.is_closed and link.is_finalized:
        return f"{link.output} was finalized from the rows that are here"
    if link.is_closed:
        return f"{count_of(link.rows, 'row')}, each an item of {link.output}"
    told = [link.reason] if link.reason else []
    for name in ("missing", "extra", "changed"):
        keys: tuple[str, ...] = getattr(link, name)
        if keys:
            shown = ", ".join(keys[:_KEYS_SHOWN]) + (", …" if len(keys) > _KEYS_SHOWN else "")
            told.append(f"{len(keys):,} {name}: {shown}")
    return "; ".join(told)
