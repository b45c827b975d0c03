"""The tree of a knowledge base, and the two ways to change it. All of it changes, or nothing does.

pages/guide-1f3a9c.md      a document as Markdown, with links to what it is about
entities/wide-area.md      the pages that a name occurs in
index.sqlite               full-text index of the pages
registry.json              every document: source, digest, title, names in it
log.md                     what was added and removed
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import batten

INDEX = "index.sqlite"
REGISTRY = "registry.json"
LOG = "log.md"
LOG_LINE = re.compile(r"- (added|removed) (\S+)")
SNIPPET_WORDS = 12
SLUG_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A document in the registry."""

    source: str
    sha256: str
    title: str
    entities: list[str]


@dataclass(kw_only=True)
class Registry:
    """All documents by name. `departed` counts how often a content left."""

    documents: dict[str, Entry] = field(default_factory=dict)
    departed: dict[str, int] = field(default_factory=dict)

    def depart(self, sha256: str) -> None:
        self.departed[sha256] = self.departed.get(sha256, 0) + 1

    def find_contents(self) -> set[str]:
        """The digests of all documents."""
        return {entry.sha256 for entry in self.documents.values()}

    def pages_about(self, entity: str) -> dict[str, str]:
        """Titles by the name of the page, of all that hold a name with this slug."""
        return {
            name: entry.title
            for name, entry in sorted(self.documents.items())
            if entity in map(make_slug, entry.entities)
        }

    def spell(self, entity: str) -> str:
        """How a name with this slug is written."""
        spelled = (name for entry in self.documents.values() for name in entry.entities)
        return min(name for name in spelled if make_slug(name) == entity)

    def encode(self) -> str:
        """A line for each document, and the whole is JSON. Python's encoder in C can't indent."""
        encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
        documents = ",\n".join(
            f"{encode(name)}: {encode(vars(entry))}"
            for name, entry in sorted(self.documents.items())
        )
        return f'{{"departed": {encode(self.departed)},\n"documents": {{\n{documents}\n}}}}\n'


class Library:
    """The tree at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read_registry(self) -> Registry:
        """As it is between two changes."""
        if not self.root.is_dir():
            return Registry()
        with batten.read_lock(self.root):
            path = self.root / REGISTRY
            return _decode_registry(path.read_bytes()) if path.exists() else Registry()

    def search(self, words: Iterable[str]) -> list[tuple[str, str, str]]:
        """Name, title and a snippet of the pages that hold all the words, the best first."""
        query = " ".join('"' + word.replace('"', '""') + '"' for word in words)
        if not (query and self.root.is_dir()):
            return []
        with batten.read_lock(self.root):
            path = self.root / INDEX
            if not path.exists():
                return []
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as index:
                return index.execute(
                    "select documents.name, pages.title, "
                    f"snippet(pages, 1, '[', ']', '…', {SNIPPET_WORDS}) "
                    "from pages join documents on documents.id = pages.rowid "
                    "where pages match ? order by rank, documents.name",
                    (query,),
                ).fetchall()


def add(
    change: batten.Transaction, name: str, entry: Entry, text: str, *, missed: str | None = None
) -> None:
    """Take a document in, in the place of an earlier one of its name. Part of the transaction.
    `missed` is the content that it had when it was listed, and left before it came."""
    registry = load_registry(change)
    if missed is not None:
        registry.depart(missed)
    before = registry.documents.get(name)
    if before is not None and before.source != entry.source:
        raise ValueError(f"{before.source} has the name {name} already")
    if before is not None:
        registry.depart(before.sha256)
        _log(change, "removed", name, before)
    registry.documents[name] = entry
    change.write(REGISTRY, registry.encode())
    change.write(_page_path(name), make_page(entry, text))
    _write_entity_pages(change, registry, entry, before)
    _log(change, "added", name, entry)
    with _change_index(change) as index, index:
        _unindex(index, name)
        number = index.execute("insert into documents (name) values (?)", (name,)).lastrowid
        index.execute(
            "insert into pages (rowid, title, body) values (?, ?, ?)", (number, entry.title, text)
        )


def remove(change: batten.Transaction, name: str) -> None:
    """Let go of a document, with all that speaks of it. Raises `KeyError`."""
    registry = load_registry(change)
    entry = registry.documents.pop(name)
    registry.depart(entry.sha256)
    change.write(REGISTRY, registry.encode())
    change.delete(_page_path(name))
    _write_entity_pages(change, registry, entry)
    _log(change, "removed", name, entry)
    with _change_index(change) as index, index:
        _unindex(index, name)


def load_registry(change: batten.Transaction) -> Registry:
    return _decode_registry(change.read(REGISTRY)) if change.exists(REGISTRY) else Registry()


def find_disagreements(root: Path) -> Iterator[str]:
    """What in the tree speaks of a document that other parts of it know nothing of."""
    if not root.is_dir():
        return
    with batten.read_lock(root):
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
        if not found:
            return
        registry = _decode_registry((root / REGISTRY).read_bytes())
        expected = {"entities", "pages", INDEX, REGISTRY, LOG}
        for name, entry in registry.documents.items():
            expected.add(_page_path(name))
            body = (root / _page_path(name)).read_text()
            if not body.startswith(f"# {entry.title}\n"):
                yield f"{_page_path(name)}: its title is not that of the registry"
            expected.update(_entity_path(make_slug(entity)) for entity in entry.entities)
        yield from (f"{path}: not known" for path in found if path not in expected)
        yield from (f"{path}: not there" for path in expected if path not in found and "/" in path)
        for path in (root / "entities").glob("*.md"):
            if path.read_text() != make_entity_page(registry, path.stem):
                yield f"{path.name}: not the pages that the registry knows"
        yield from _find_index_disagreements(root, registry)
        logged: set[str] = set()
        for how, name in LOG_LINE.findall((root / LOG).read_text()):
            if (name in logged) is (how == "added"):
                yield f"{LOG}: {name} was {how} twice"
            logged ^= {name}
        if logged != set(registry.documents):
            yield f"{LOG}: {logged ^ set(registry.documents)}"


def _find_index_disagreements(root: Path, registry: Registry) -> Iterator[str]:
    with closing(sqlite3.connect(root / INDEX)) as index:
        yield from (
            f"{INDEX}: {text}"
            for (text,) in index.execute("pragma integrity_check")
            if text != "ok"
        )
        rows = index.execute(
            "select name, title, body from documents left join pages on id = pages.rowid"
        ).fetchall()
        (pages,) = index.execute("select count(*) from pages").fetchone()
    if pages != len(rows) or {row[0] for row in rows} != set(registry.documents):
        yield f"{INDEX}: it holds {sorted(row[0] for row in rows)} and {pages} pages"
    for name, _, body in rows:
        entry = registry.documents.get(name)
        if entry and make_page(entry, body) != (root / _page_path(name)).read_text():
            yield f"{INDEX}: it holds another text of {name}"


def make_page(entry: Entry, text: str) -> str:
    links = [f"[{name}](../{_entity_path(make_slug(name))})" for name in entry.entities]
    about = f"About: {', '.join(links)}\n\n" if links else ""
    return f"# {entry.title}\n\nFrom `{entry.source}`\n\n{about}{text}\n"


def make_entity_page(registry: Registry, entity: str) -> str:
    pages = registry.pages_about(entity)
    lines = "".join(f"- [{title}](../{_page_path(name)})\n" for name, title in pages.items())
    return f"# {registry.spell(entity)}\n\n{lines}"


@cache
def make_slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", "-plus")).strip("-")
    return slug[:SLUG_CHARACTERS].rstrip("-") or "x"


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decode_registry(data: bytes) -> Registry:
    found = json.loads(data)
    documents = {name: Entry(**entry) for name, entry in found["documents"].items()}
    return Registry(documents=documents, departed=found["departed"])


def _page_path(name: str) -> str:
    return f"pages/{name}.md"


def _entity_path(entity: str) -> str:
    return f"entities/{entity}.md"


def _write_entity_pages(
    change: batten.Transaction, registry: Registry, *touched: Entry | None
) -> None:
    """Of what the documents that came or left are about; a name that no page holds has none."""
    names = {make_slug(name) for entry in touched if entry for name in entry.entities}
    for entity in sorted(names):
        if registry.pages_about(entity):
            change.write(_entity_path(entity), make_entity_page(registry, entity))
        elif change.exists(_entity_path(entity)):
            change.delete(_entity_path(entity))


def _log(change: batten.Transaction, how: str, name: str, entry: Entry) -> None:
    before = change.read(LOG) if change.exists(LOG) else b""
    change.write(LOG, before + f"- {how} {name} ({entry.source})\n".encode())


def _change_index(change: batten.Transaction) -> closing[sqlite3.Connection]:
    """The transaction keeps what was there and syncs what comes, so SQLite need not."""
    index = sqlite3.connect(change.protect(INDEX))
    index.execute("pragma journal_mode = memory")
    index.execute("pragma synchronous = off")
    index.execute("create table if not exists documents (id integer primary key, name unique)")
    index.execute("create virtual table if not exists pages using fts5 (title, body)")
    return closing(index)


def _unindex(index: sqlite3.Connection, name: str) -> None:
    where = "(select id from documents where name = ?)"
    index.execute(f"delete from pages where rowid = {where}", (name,))
    index.execute("delete from documents where name = ?", (name,))
