"""The journal on disk: found, judged, made and removed."""

from __future__ import annotations

import hashlib

from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.records import NewerFormat, Unreadable, decode_record, encode_record
from batten.model.disk.trees.journal import Journal, Phase
from batten.model.disk.trees.tree_names import TreeLayout
from batten.model.rules.tree_recovery import JournalState
from batten.model.value_class import value_class
from batten.storage.changing import publishing
from batten.storage.local.tree import Tree
from batten.storage.relative import folder_of


@value_class
class FoundJournal:
    """What is there of a journal. `journal` is the journal, if it can be read. Otherwise `problem`
    says why not. `digest` is of its bytes."""

    state: JournalState
    journal: Journal | None = None
    problem: str = ""
    digest: str = ""


def find_journal(tree: Tree, layout: TreeLayout) -> FoundJournal:
    """Reads only. Raises `StorageError` if the disk fails."""
    try:
        data = tree.read(layout.journal, bytes_max=RECORD_BYTES_MAX["journal"])
    except FileNotFoundError:
        return FoundJournal(state=JournalState.NONE)
    digest = hashlib.sha256(data).hexdigest()
    try:
        journal = decode_record(Journal, data)
    except NewerFormat as error:
        return FoundJournal(state=JournalState.NEWER, problem=str(error), digest=digest)
    except Unreadable as error:
        return FoundJournal(state=JournalState.UNREADABLE, problem=str(error), digest=digest)
    return FoundJournal(state=_find_state(tree, layout, journal), journal=journal, digest=digest)


def _find_state(tree: Tree, layout: TreeLayout, journal: Journal) -> JournalState:
    if journal.phase == Phase.OPEN:
        return JournalState.OPEN
    if journal.token and tree.find(token_name(layout, journal.token)) is not None:
        return JournalState.FINISHED
    return JournalState.COMMITTED


def publish_journal(tree: Tree, layout: TreeLayout, journal: Journal) -> None:
    """Write the journal, in the place of any other. It is durable on return."""
    publishing.replace(tree, layout.staging, layout.journal, encode_record(journal))


def remove_journal(tree: Tree, layout: TreeLayout, journal: Journal) -> None:
    """The change is done, and durably so. Its journal goes, or becomes what tells of its token.

    A power cut may undo the removal of a journal whose token is there. Recovery then sees that the
    change is done. So the removal needs no sync of its own."""
    if journal.phase == Phase.COMMITTED and journal.token:
        name = token_name(layout, journal.token)
        tree.publish(layout.journal, name)
        tree.sync_names(folder_of(name))
        tree.delete(layout.journal)
        return
    tree.delete(layout.journal)
    tree.sync_names(layout.control)


def token_name(layout: TreeLayout, token: str) -> str:
    return layout.token(hashlib.sha256(token.encode()).hexdigest())
