"""The documents of a folder that the knowledge base does not have yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from convert import is_convertible
from library import Library, digest_file, make_slug

KEY_DIGITS = 12
NAME_DIGITS = 10


class Document(TypedDict):
    """A file to be taken in: plain values, which a plan can keep. `source` is its path from the
    folder that the tree lies in, and `name` that of its page: made from nothing but the source, so
    it is the same in every run."""

    key: str
    path: str
    source: str
    name: str
    sha256: str


def list_new_documents(folder: Path, root: Path) -> Iterator[Document]:
    """Those whose content is not in the knowledge base, in the order of their paths; of several
    with the same content the first. Known content is thus never converted.

    The key names this arrival of this content: content that left and comes again is another item.
    """
    registry = Library(root).read_registry()
    known = registry.find_contents()
    for path in sorted(folder.rglob("*")):
        if not (path.is_file() and is_convertible(path)):
            continue
        sha256 = digest_file(path)
        if sha256 in known:
            continue
        known.add(sha256)
        source = name_source(path, root)
        arrival = f"{sha256[:KEY_DIGITS]}.{registry.departed.get(sha256, 0)}"
        yield Document(
            key=f"{source}@{arrival}",
            path=str(path),
            source=source,
            name=make_name(source),
            sha256=sha256,
        )


def name_source(path: Path, root: Path) -> str:
    """Folders of the same name in different places are told apart, and all may move together."""
    return Path(os.path.relpath(path, root.parent)).as_posix()


def make_name(source: str) -> str:
    """Documents with the same stem have distinct names."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    return f"{make_slug(Path(source).stem)}-{digest[:NAME_DIGITS]}"
