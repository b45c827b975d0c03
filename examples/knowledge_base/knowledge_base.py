"""A knowledge base that is kept whole: `ingest FOLDER`, `remove NAME`, `search WORDS`, `check`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from convert import convert
from documents import Document, list_new_documents, make_name, name_source
from entities import find_entities
from library import (
    Entry,
    Library,
    add,
    digest_file,
    find_disagreements,
    load_registry,
    remove,
)

import batten

EXIT_USAGE = 2
EXIT_QUARANTINED = 3
EXIT_INCONSISTENT = 4
EXIT_FAILED = 1
SHOWN = 10


def is_there(document: Document) -> bool:
    """One that was deleted since it was listed is no failure."""
    return Path(document["path"]).is_file()


def prepare(document: Document) -> dict[str, Any]:
    """Convert one document; any number of these run at a time, and none touches the tree."""
    path = Path(document["path"])
    data = path.read_bytes()
    page = convert(data, path.suffix.lower())
    title = page.title or path.stem
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "title": title,
        "text": page.text,
        "entities": find_entities(f"{title}\n{page.text}"),
    }


def file_document(change: batten.Transaction, document: Document, prepared: dict[str, Any]) -> None:
    """Put one document into the tree; one at a time, in the order of the folder."""
    sha256 = prepared["sha256"]
    if digest_file(Path(document["path"])) != sha256:
        raise batten.OutdatedError(f"{document['source']} was changed while it was converted.")
    if sha256 in load_registry(change).find_contents():
        return
    entry = Entry(
        source=document["source"],
        sha256=sha256,
        title=prepared["title"],
        entities=prepared["entities"],
    )
    missed = document["sha256"] if document["sha256"] != sha256 else None
    add(change, document["name"], entry, prepared["text"], missed=missed)


def ingest(
    root: Path,
    folder: Path,
    jobs: int,
    *,
    should_retry: bool = False,
    accepts_change: bool = False,
) -> int:
    """Take in what is new in the folder; what was prepared is kept beside the tree."""
    if not folder.is_dir():
        return _refuse(f"{folder} is not a folder")
    if root.is_relative_to(folder) or folder.is_relative_to(root):
        return _refuse(f"{folder} and the tree lie in each other")
    import pyarrow as pa

    columns = dict.fromkeys(("sha256", "title", "text"), pa.string())
    pipeline = (
        batten.from_items(partial(list_new_documents, folder, root), key="key")
        .filter(is_there)
        .map(prepare)
        .options(schema={**columns, "entities": pa.list_(pa.string())})
        .write_parquet(f"{root}.prepared/{make_name(name_source(folder, root))}")
        .write_tree(root, commit=file_document)
    )
    before = len(Library(root).read_registry().documents)
    report = pipeline.run(
        jobs=jobs,
        retry_quarantined=should_retry,
        accept_change=accepts_change,
    )
    after = len(Library(root).read_registry().documents)
    print(f"{after} documents, {after - before} of them new")
    if not report.quarantined:
        return 0
    print(f"{report.quarantined} could not be taken in; see: batten show {report.path}")
    return EXIT_QUARANTINED


def let_go(root: Path, name: str) -> int:
    with batten.transaction(root) as change:
        is_known = name in load_registry(change).documents
        if is_known:
            remove(change, name)
    return 0 if is_known else _refuse(f"there is no document {name!r}")


def search(root: Path, words: list[str]) -> int:
    found = Library(root).search(words)
    for name, title, snippet in found[:SHOWN]:
        print(f"{name}  {title}\n    {' '.join(snippet.split())}")
    if not found:
        print("nothing found")
    elif len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    return 0


def check(root: Path) -> int:
    """Whether pages, index, registry and log agree."""
    found = list(find_disagreements(root))
    print("\n".join(found) or "pages, index, registry and log agree")
    return EXIT_INCONSISTENT if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("knowledge"), help="the tree")
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("ingest", help="take in the documents of a folder")
    adding.add_argument("folder", type=Path)
    adding.add_argument("--jobs", type=int, default=2)
    adding.add_argument(
        "--retry-quarantined", action="store_true", help="also those that failed before"
    )
    adding.add_argument(
        "--accept-change", action="store_true", help="go on though this program has changed"
    )
    commands.add_parser("remove", help="let go of a document").add_argument("name")
    commands.add_parser("search", help="find pages").add_argument("words", nargs="+")
    commands.add_parser("check", help="whether everything agrees")
    given = parser.parse_args()
    root = given.root.resolve()
    try:
        if given.command == "ingest":
            return ingest(
                root,
                given.folder.resolve(),
                given.jobs,
                should_retry=given.retry_quarantined,
                accepts_change=given.accept_change,
            )
        if given.command == "remove":
            return let_go(root, given.name)
        return search(root, given.words) if given.command == "search" else check(root)
    except batten.BattenError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED


def _refuse(what: str) -> int:
    print(what, file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
