"""Sentences of documents and docstrings are short enough to be understood at the first hearing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "guides").glob("*.md"),
    *(ROOT / "docs" / "cookbook").glob("*.md"),
    *(ROOT / "docs" / "reference").glob("*.md"),
]

WORDS_MAX = 33
"""Of one sentence, or of a part of it that ends with a colon or a semicolon."""

LINKS_MAX = 3
"""A paragraph with more links is a list of them."""

_NOT_PROSE = re.compile(r"^```.*?^```$|<!--.*?-->", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_BLOCK = re.compile(r"\n\s*\n|\n(?= *(?:[-*|] |\d+\. |\|))")
_SECTION = re.compile(r"^\w+:\n", re.MULTILINE)
_ENTRY = re.compile(r"\n(?=    \S)")
_TABLE = re.compile(r"\S   +\S|\n    |\n\|")
_END = re.compile(r"(?<=[.:;!?])[*`]*\s+")


def long_parts(text: str) -> Iterator[str]:
    """What of the text has too many words; what stands in brackets does not count."""
    for part in _END.split(re.sub(r"\([^()]*\)", "", text)):
        if len(part.split()) > WORDS_MAX:
            yield " ".join(part.split())


def paragraphs(document: str) -> Iterator[str]:
    for block in _BLOCK.split(_NOT_PROSE.sub("", document)):
        if not block.lstrip().startswith("|") and len(_LINK.findall(block)) <= LINKS_MAX:
            yield _LINK.sub(r"\1", block)


def docstrings(source: str) -> Iterator[str]:
    """Paragraphs of docstrings, and the entries of their sections; no tables, no code."""
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstring = ast.get_docstring(node) if isinstance(node, kinds) else None
        for paragraph in re.split(r"\n\s*\n", docstring or ""):
            if _SECTION.match(paragraph):
                yield from _ENTRY.split(paragraph)
            elif not _TABLE.search(f"\n{paragraph}"):
                yield paragraph


def test_sentences_of_documents_are_short() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {part}"
        for path in DOCUMENTS
        for paragraph in paragraphs(path.read_text())
        for part in long_parts(paragraph)
    ]

    assert found == []


def test_sentences_of_docstrings_are_short() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {part}"
        for path in (ROOT / "src").rglob("*.py")
        for paragraph in docstrings(path.read_text())
        for part in long_parts(paragraph)
    ]

    assert found == []


def test_a_long_sentence_is_found() -> None:
    long = f"It is {'very ' * WORDS_MAX}long."

    assert list(long_parts(f"A short one. {long} Another.")) == [long]
    assert list(docstrings(f'"""First.\n\nArgs:\n    what: {long}\n    other: Short.\n"""')) != []
